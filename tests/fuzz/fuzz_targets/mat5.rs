//! Annotations in MATLAB files.
#![no_main]

use dml_data::sources::cars;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dml_fuzz::file("cars_annos.mat", bytes);
    let _ = cars::read(&dml_fuzz::place(""));
});
