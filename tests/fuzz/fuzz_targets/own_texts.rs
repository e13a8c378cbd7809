//! See `dml_fuzz::data::own_texts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::own_texts(bytes));
