//! Lists of pairs of a catalogue's images.
#![no_main]

use dml_data::sources::lfw;
use dml_data::{Catalog, CatalogBuilder, FileEntry, Files, Membership};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Three images each of Ann and Bob.
static PEOPLE: LazyLock<Catalog> = LazyLock::new(|| {
    let mut builder = CatalogBuilder::new("people", "", Files::below(""));
    for name in ["Ann", "Bob"] {
        for number in 1..=3 {
            let image = format!("{name}/{name}_{number:04}.jpg");
            builder.add(Membership::new(name, "all"), FileEntry::file(&image)).expect("a plain path");
        }
    }
    builder.finish()
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pairs) = lfw::pairs(&dml_fuzz::file("pairs.txt", bytes), &PEOPLE) {
        assert!(pairs.iter().all(|pair| pair.left.max(pair.right) < PEOPLE.len()));
    }
});
