//! See `dml_fuzz::data::lfw_pairs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::lfw_pairs(bytes));
