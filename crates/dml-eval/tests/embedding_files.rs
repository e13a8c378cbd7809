//! Embeddings that are written as they come: each format comes back whole, and what is stopped leaves nothing.

use dml_core::Matrix;
use dml_eval::input::*;
use std::path::{Path, PathBuf};

const FORMATS: &[EmbeddingFormat] = &[
    EmbeddingFormat::Safetensors,
    EmbeddingFormat::Npy,
    #[cfg(feature = "parquet")]
    EmbeddingFormat::Parquet,
];

fn items(n: usize) -> Items {
    Items {
        labels: (0..n).map(|i| (i * 7 % 12) as u32).collect(),
        // As text "c10" comes before "c2", as numbers of the file 2 before 10.
        class_names: (0..12).map(|c| format!("c{c}")).collect(),
        ids: (0..n).map(|i| format!("a, \"b\"/é {i}.png")).collect(),
    }
}

fn values(n: usize, dim: usize) -> Vec<f32> {
    (0..n * dim).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn write(path: &Path, format: EmbeddingFormat, dim: usize, values: &[f32], piece: usize) -> dml_eval::Result<()> {
    let mut writer = EmbeddingWriter::create(path, format, dim, items(values.len() / dim))?;
    values.chunks(piece * dim).try_for_each(|rows| writer.push(rows))?;
    writer.finish()
}

/// The file of the labels.
fn labels(path: &Path, format: EmbeddingFormat) -> PathBuf {
    if format == EmbeddingFormat::Npy { path.with_extension("csv") } else { path.to_owned() }
}

#[test]
fn what_is_written_in_pieces_is_read_back_with_its_names() {
    let folder = tempfile::tempdir().unwrap();
    // More than a row group of a Parquet file in one of them.
    for (n, dim) in [(1, 1), (30, 5), (4200, 1024)] {
        let (values, wanted) = (values(n, dim), items(n));
        for &format in FORMATS {
            let path = folder.path().join(format!("{n}.{format}"));
            assert_eq!(EmbeddingFormat::of(&path).unwrap(), format);
            write(&path, format, dim, &values, 100).unwrap();
            let whole = std::fs::read(&path).unwrap();
            write(&path, format, dim, &values, 7).unwrap();
            assert!(whole == std::fs::read(&path).unwrap(), "{format}: pieces do not matter");
            let back = Labelled::open(&path, None, labels(&path, format), &ColumnNames::default()).unwrap();
            assert_eq!((back.vectors.rows(), back.vectors.dim()), (n, dim));
            assert!(back.vectors.block(0..n).unwrap() == values, "{format}");
            assert_eq!(back.table.ids.as_ref(), Some(&wanted.ids), "{format}");
            let named = back.table.labels.ids.iter().map(|&id| &back.table.labels.names[id as usize]);
            assert!(named.eq(wanted.labels.iter().map(|&l| &wanted.class_names[l as usize])), "{format}");
        }
    }
}

#[test]
fn an_npy_file_is_that_of_the_whole_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let [pieces, whole] = ["pieces.npy", "whole.npy"].map(|name| folder.path().join(name));
    let values = values(20, 3);
    write(&pieces, EmbeddingFormat::Npy, 3, &values, 6).unwrap();
    write_npy(&whole, Matrix::new(&values, 20, 3).unwrap()).unwrap();
    assert!(std::fs::read(pieces).unwrap() == std::fs::read(whole).unwrap());
}

#[test]
fn what_is_not_whole_leaves_no_file_and_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for &format in FORMATS {
        let path = folder.path().join(format!("x.{format}"));
        let begin = || EmbeddingWriter::create(&path, format, 3, items(2)).unwrap();
        let mut dropped = begin();
        dropped.push(&[0.0; 3]).unwrap();
        drop(dropped);
        let problem = begin().finish().unwrap_err().to_string();
        assert!(problem.contains("0 embeddings for 2 items"), "{problem}");
        for values in [2, 9] {
            let problem = begin().push(&vec![0.0; values]).unwrap_err().to_string();
            assert!(problem.contains(&format!("{values} values")), "{problem}");
        }
        let short = Items { ids: vec![], ..items(2) };
        assert!(EmbeddingWriter::create(&path, format, 3, short).is_err());
        let nameless = Items { class_names: vec![], ..items(2) };
        assert!(EmbeddingWriter::create(&path, format, 3, nameless).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{format}");
    }
    assert!(EmbeddingFormat::of(Path::new("x.csv")).unwrap_err().to_string().contains(".parquet"));
}

#[cfg(feature = "parquet")]
#[test]
fn lists_of_pyarrow_are_embeddings_and_bad_ones_are_named() {
    let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/inputs").join(name);
    let wanted: Vec<f32> = (0..15).map(|i| i as f32 / 8.0 - 1.0).collect();
    for name in ["lists.parquet", "lists_fixed.parquet"] {
        let set = Labelled::open(golden(name), None, golden(name), &ColumnNames::default()).unwrap();
        assert_eq!(*set.vectors.block(0..5).unwrap(), wanted, "{name}");
        assert_eq!(set.table.labels.names, ["jay", "owl", "wren"]);
        assert_eq!(set.table.labels.ids, [1, 0, 1, 2, 0]);
    }
    let two = golden("lists_two.parquet");
    assert_eq!(open_vectors(&two, Some("b")).unwrap().dim(), 2);
    let problem = |name: &str, column: Option<&str>| match open_vectors(golden(name), column) {
        Ok(_) => panic!("{name} was taken"),
        Err(problem) => problem.to_string(),
    };
    assert!(problem("lists_two.parquet", None).contains("name one of a, b"));
    assert!(problem("lists_two.parquet", Some("c")).contains("name one of a, b"));
    assert!(problem("table_plain.parquet", None).contains("there is none"));
    assert!(problem("lists_absent.parquet", None).contains("row 2: a value or the list is absent"));
    assert!(problem("lists_hole.parquet", None).contains("row 2: a value or the list is absent"));
    assert!(problem("lists_ragged.parquet", None).contains("row 2 has 2 values but row 1 has 3"));
}

#[test]
fn a_summary_is_what_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f32> = [1.0, 2.0, f32::NAN, 4.0, 5.0, f32::NEG_INFINITY].into();
    for &format in FORMATS {
        let path = folder.path().join(format!("x.{format}"));
        write(&path, format, 3, &values, 1).unwrap();
        let found = summarize(&path).unwrap();
        let of = found.iter().find(|tensor| tensor.shape == [2, 3]).unwrap();
        assert_eq!((of.mean, of.min, of.max, of.not_finite), (Some(3.0), Some(1.0), Some(5.0), 2), "{format}");
        assert!((of.std.unwrap() - 2.5f64.sqrt()).abs() < 1e-12);
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/inputs");
    let four = summarize(golden.join("four.safetensors")).unwrap();
    assert_eq!(four.iter().map(|t| t.dtype.as_str()).collect::<Vec<_>>(), ["BF16", "F16", "F32", "F64"]);
    // x = i/8 − 1 for i in 0..15.
    assert!(four.iter().all(|t| t.mean == Some(-0.125) && t.min == Some(-1.0) && t.max == Some(0.75)), "{four:?}");
    assert_eq!(summarize(golden.join("int8.npy")).unwrap()[0].min, Some(-128.0));
    assert!(summarize(golden.join("table.csv")).is_err());
}
