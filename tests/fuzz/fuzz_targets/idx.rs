//! Arrays of idx files, plain and compressed, and sets made of two of them.
#![no_main]

use dml_data::sources::idx;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

/// Two images of one pixel, and their labels.
const IMAGES: [u8; 18] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 8];
const LABELS: [u8; 10] = [0, 0, 8, 1, 0, 0, 0, 2, 1, 0];

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("x");
    let _ = idx::read(path, bytes);
    let _ = idx::image_set("x", (path, bytes), (path, &LABELS), None);
    let _ = idx::image_set("x", (path, &IMAGES), (path, bytes), None);
});
