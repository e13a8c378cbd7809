//! Files damaged at random are read or refused: no reader panics, and none makes rows that the file has not.

use dml_eval::input::*;
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/inputs").join(name)
}

/// Reads all that can be read of a file; the result does not matter, that there is one does.
fn read_all(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    for tensor in [None, Some("f32"), Some("embeddings")] {
        if let Ok(x) = open_vectors(&path, tensor) {
            // Pages of a Parquet file may say in few bytes that a value comes often.
            assert!(x.rows() * x.dim() <= bytes.len() || name.ends_with(".parquet"));
            x.block(0..x.rows()).unwrap();
            let _ = check_finite(&*x);
            zero_rows(&*x).unwrap();
        }
    }
    if let Ok(table) = open_table(&path, &ColumnNames::default()) {
        let classes = table.labels.names.len();
        assert!(table.labels.ids.iter().all(|&id| (id as usize) < classes));
    }
}

/// Whole files, of every kind read.
const SEEDS: &[&str] = &[
    "little_f2.npy",
    "little_f8.npy",
    "version_2.npy",
    "uint64.npy",
    "four.safetensors",
    "set.safetensors",
    "table.csv",
    "table.tsv",
    #[cfg(feature = "parquet")]
    "table_snappy.parquet",
    #[cfg(feature = "parquet")]
    "table_zstd.parquet",
    #[cfg(feature = "parquet")]
    "lists.parquet",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_read_or_refused(seed in 0..SEEDS.len(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                                         keep in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let name = SEEDS[seed];
        let mut bytes = fs::read(golden(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        read_all(name, &bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), head in 0..4_usize) {
        let head: &[u8] = [b"".as_slice(), b"\x93NUMPY\x01\x00\x20\x00", b"label\n", b"\x20\0\0\0\0\0\0\0{"][head];
        let bytes = [head, &bytes].concat();
        for name in ["x.npy", "x.safetensors", "x.csv", "x.txt"] {
            read_all(name, &bytes);
        }
    }
}
