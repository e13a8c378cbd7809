//! Labels and the columns beside them, in files of every kind.
#![no_main]

use dml_eval::input::{ColumnNames, open_table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["x.csv", "x.tsv", "x.txt", "x.npy", "x.safetensors"] {
        if let Ok(table) = open_table(dml_fuzz::file(name, bytes), &ColumnNames::default()) {
            let classes = table.labels.names.len();
            assert!(table.rows() <= bytes.len() && table.labels.ids.iter().all(|&id| (id as usize) < classes));
        }
    }
});
