//! See `dml_fuzz::data::tar_shards`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::data::tar_shards(bytes));
