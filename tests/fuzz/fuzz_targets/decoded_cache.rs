//! See `dml_fuzz::data::decoded_cache`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::decoded_cache(bytes));
