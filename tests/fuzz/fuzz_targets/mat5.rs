//! See `dml_fuzz::data::mat5`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::mat5(bytes));
