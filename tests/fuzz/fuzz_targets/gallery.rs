//! See `dml_fuzz::eval::gallery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::eval::gallery(bytes));
