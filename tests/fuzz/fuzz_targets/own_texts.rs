//! Tables of texts and of pairs of them: CSV and TSV.
#![no_main]

use dml_data::sources::own_texts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["x.csv", "x.tsv"] {
        let path = dml_fuzz::file(name, bytes);
        let _ = own_texts::open(&path);
        let _ = own_texts::pairs(&path);
    }
});
