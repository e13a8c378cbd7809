//! See `dml_fuzz::data::lists`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::lists(bytes));
