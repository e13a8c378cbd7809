//! Tar archives that are read in place.
#![no_main]

use dml_data::sources::tar_shards;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = dml_fuzz::file("x.tar", bytes);
    if let Ok(catalog) = tar_shards::classification("x", &[("all", &path)]) {
        for i in 0..catalog.len() {
            assert!(catalog.read(i).expect("samples lie within the archive").1.len() <= bytes.len());
        }
    }
});
