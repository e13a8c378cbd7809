//! See `dml_fuzz::eval::embeddings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::eval::embeddings(bytes));
