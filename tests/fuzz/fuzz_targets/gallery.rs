//! Exports of galleries: a gallery takes all of one or nothing, and holds what the export says.
#![no_main]

use dml_core::Metric;
use dml_gallery::{Exported, Filter, Gallery, MemoryGallery, Model, Templates, import};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = dml_fuzz::files(&["gallery.json", "identities.jsonl", "embeddings.safetensors"], bytes);
    // The gallery that an export was made of, or one that takes embeddings of length 2.
    let plain = || Model { weights_sha256: None, dim: 2, metric: Metric::Cosine, preprocessing: String::new() };
    let model = Exported::read(&folder).map_or_else(|_| plain(), |exported| exported.model);
    let Ok(gallery) = MemoryGallery::new(model, Templates::Mean) else { return };
    let taken = import(&gallery, &folder).unwrap_or_default();
    assert_eq!(gallery.count(&Filter::everybody()).expect("memory does not fail"), taken);
    assert!(taken.samples <= bytes.len() / 4 && taken.identities <= bytes.len());
});
