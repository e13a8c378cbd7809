//! See `dml_fuzz::eval::pairs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::eval::pairs(bytes));
