//! Tables of images: CSV and TSV.
#![no_main]

use dml_data::sources::table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["x.csv", "x.tsv"] {
        let _ = table::open(&dml_fuzz::file(name, bytes), None);
    }
});
