//! Readers against files that numpy, safetensors and pandas wrote; round trips; bad files.

use dml_core::Matrix;
use dml_eval::{Error, input::*};
use proptest::prelude::*;
use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/inputs").join(name)
}

/// The embeddings of the generator, `[5, 3]`.
fn embeddings() -> Vec<f32> {
    (0..15).map(|i| i as f32 / 8.0 - 1.0).collect()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

/// A file of these bytes in a folder that lasts as long as the first value.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\x00".as_slice(), &(dict.len() as u16).to_le_bytes(), dict.as_bytes(), data].concat()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The problem that reading a file of these bytes ends in; it names the file.
#[track_caller]
fn vectors_problem(name: &str, bytes: impl AsRef<[u8]>, tensor: Option<&str>) -> String {
    let (_folder, path) = file(name, bytes);
    problem(&path, open_vectors(&path, tensor).map(|_| ()))
}

#[track_caller]
fn table_problem(name: &str, bytes: impl AsRef<[u8]>, columns: &ColumnNames) -> String {
    let (_folder, path) = file(name, bytes);
    problem(&path, open_table(&path, columns).map(|_| ()))
}

#[track_caller]
fn problem(want: &Path, result: dml_eval::Result<()>) -> String {
    match result {
        Err(Error::File { path, problem }) => {
            assert_eq!(path, want);
            problem
        }
        other => panic!("a refused file was expected, not {other:?}"),
    }
}

#[test]
fn every_type_of_number_reads_the_same() {
    let npy = ["little_f2", "little_f4", "little_f8", "big_f4", "version_2", "version_3"];
    let npy = npy.map(|name| (format!("{name}.npy"), None));
    let tensors = ["f16", "bf16", "f32", "f64"].map(|name| ("four.safetensors".to_owned(), Some(name)));
    let only = [("set.safetensors".to_owned(), None)];
    for (name, tensor) in npy.into_iter().chain(tensors).chain(only) {
        let x = open_vectors(golden(&name), tensor).unwrap();
        assert_eq!((x.rows(), x.dim()), (5, 3), "{name}");
        assert_eq!(x.block(0..5).unwrap(), embeddings(), "{name}");
        assert_eq!(x.block(1..3).unwrap(), &embeddings()[3..9], "{name}");
        assert_eq!(x.block(5..5).unwrap().len(), 0, "{name}");
        check_finite(&*x).unwrap();
        let (start, end) = (3, 2);
        for range in [0..6, 6..6, start..end, usize::MAX - 1..usize::MAX] {
            assert!(x.block(range).unwrap_err().to_string().contains("there are 5: ask for less"), "{name}");
        }
    }
}

#[test]
fn numbers_as_this_machine_has_them_are_not_copied() {
    let x = VectorFile::npy(golden("little_f4.npy")).unwrap();
    assert_eq!(matches!(x.block(1..2).unwrap(), Cow::Borrowed(_)), cfg!(target_endian = "little"));
    // One byte off: numbers that lie askew are copied, and are the same.
    let bytes: Vec<u8> = embeddings().iter().flat_map(|v| v.to_le_bytes()).collect();
    let (_folder, path) = file("x.npy", npy("{'descr':'<f4','fortran_order':False,'shape':(5,3)}\n ", &bytes));
    let x = VectorFile::npy(path).unwrap();
    assert!(matches!(x.block(0..5).unwrap(), Cow::Owned(_)));
    assert_eq!(x.block(0..5).unwrap(), embeddings());
}

#[test]
fn integer_labels_are_exact_and_in_order_of_value() {
    let table = |name| open_table(golden(name), &ColumnNames::default()).unwrap();
    let wide = table("uint64.npy").labels;
    assert_eq!(wide.names, names(&["7", "9007199254740992", "9007199254740993", "18446744073709551615"]));
    assert_eq!(wide.ids, [2, 3, 1, 0, 2]);
    let big = table("big_int16.npy").labels;
    assert_eq!((big.ids, big.names), (vec![0, 1, 0, 2, 3], names(&["-300", "2", "5", "300"])));
    let small = table("int8.npy").labels;
    assert_eq!((small.ids, small.names), (vec![1, 2, 0, 3, 2], names(&["-128", "-1", "2", "127"])));
    assert_eq!(table("bool.npy").labels.ids, [1, 0, 1]);
    let set = table("set.safetensors");
    assert_eq!((set.labels.ids, set.labels.names), (vec![0, 2, 1, 2, 0], names(&["-1", "9", "10"])));
    assert_eq!(set.is_query, Some(vec![true, false, false, true, true]));
    assert_eq!(table("only.safetensors").labels.ids, [0, 2, 1, 2, 0]);
}

fn is_the_table(table: &Table) {
    let labels = names(&["9", "10", "9007199254740992", "9007199254740993"]);
    assert_eq!((&table.labels.ids, &table.labels.names), (&vec![1, 0, 3, 2, 0], &labels));
    let ids = names(&["a/1.png", "a/2.png", "b \"c\", d.png", "e.png", "é.png"]);
    assert_eq!(table.ids, Some(ids));
    let splits = Categories { ids: vec![1, 0, 0, 1, 0], names: names(&["test", "train"]) };
    assert_eq!(table.splits, Some(splits));
    assert_eq!(table.is_query, Some(vec![true, false, true, false, true]));
    assert_eq!(table.is_gallery, Some(vec![true, true, false, true, false]));
    let cameras = Categories { ids: vec![2, 1, 2, 0, 0], names: names(&["c1", "c10", "c2"]) };
    assert_eq!(table.groups, Some(cameras));
}

#[test]
fn tables_of_pandas() {
    for name in ["table.csv", "table.tsv"] {
        is_the_table(&open_table(golden(name), &ColumnNames::default()).unwrap());
    }
    let columns = ColumnNames { label: Some("species".into()), ..ColumnNames::default() };
    let species = open_table(golden("table.csv"), &columns).unwrap().labels;
    assert_eq!((species.ids, species.names), (vec![2, 1, 2, 0, 1], names(&["jay", "owl", "wren"])));
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_tables_of_pandas() {
    for compression in ["snappy", "zstd", "gzip", "plain"] {
        let path = golden(&format!("table_{compression}.parquet"));
        is_the_table(&open_table(&path, &ColumnNames::default()).unwrap());
        let columns = ColumnNames { label: Some("score".into()), ..ColumnNames::default() };
        let problem = problem(&path, open_table(&path, &columns).map(|_| ()));
        assert!(problem.starts_with("row 1, column \"score\": 0.5 is neither a whole number nor text"), "{problem}");
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_asks_for_its_feature() {
    assert!(table_problem("x.parquet", "", &ColumnNames::default()).contains("cargo feature `parquet`"));
}

#[test]
fn text_by_hand() {
    let read = |name, text: &str| {
        let (_folder, path) = file(name, text);
        open_table(path, &ColumnNames::default()).unwrap()
    };
    let table = read("y.txt", "\u{feff}owl\r\n  jay \nowl\n");
    assert_eq!((table.labels.ids, table.labels.names), (vec![1, 0, 1], names(&["jay", "owl"])));
    // One value, two ways to write it: one class, named as first written.
    let table = read("y.txt", "007\n10\n7\n+9\n");
    assert_eq!((table.labels.ids, table.labels.names), (vec![0, 2, 0, 1], names(&["007", "+9", "10"])));
    // One word among numbers: all are text.
    let table = read("y.txt", "10\n9\nx\n");
    assert_eq!(table.labels.names, names(&["10", "9", "x"]));
    // More digits than an i128 has.
    let long = "9".repeat(60);
    assert_eq!(read("y.txt", &format!("10\n{long}\n")).labels.names, [names(&["10"])[0].clone(), long]);
    // In any case, with a byte-order mark; the id column of the first name in the list.
    let table = read("y.csv", "\u{feff}Target , Path,ID\n a ,p,i\nb,q,\n");
    assert_eq!((table.labels.names, table.ids), (names(&["a", "b"]), Some(names(&["i", ""]))));
    assert_eq!(read("y.csv", "label\n").rows(), 0);
}

#[test]
fn bad_tables_say_what_is_wrong_and_where() {
    let default = ColumnNames::default();
    let label = |name: &str| ColumnNames { label: Some(name.into()), ..ColumnNames::default() };
    let cases = [
        (
            "y.csv",
            "id,kind\n1,2\n",
            default.clone(),
            "no column is named label, class or target: say which of id, kind is",
        ),
        ("y.csv", "id,kind\n1,2\n", label("sort"), "there is no column \"sort\": name one of id, kind"),
        ("y.csv", "label,label\n1,2\n", label("label"), "2 columns are named \"label\": rename all but one"),
        (
            "y.csv",
            "label,Class\n1,2\n",
            default.clone(),
            "columns \"label\" and \"Class\" could both be the label: say which",
        ),
        ("y.csv", "label,camera,group\n1,2,3\n", default.clone(), "\"group\" and \"camera\" could both be the group"),
        ("y.csv", "label\n1\n\"\"\n", default.clone(), "row 2, column \"label\": the cell is empty: fill it"),
        (
            "y.csv",
            "label,is_query\n1,1\n1,maybe\n",
            default.clone(),
            "row 2, column \"is_query\": \"maybe\" is not true or",
        ),
        ("y.csv", "label,id\n1,2\n1\n", default.clone(), "line 3 has 1 fields but the header has 2"),
        ("y.csv", "", default.clone(), "no column is named"),
        ("y.txt", "a\n\nb\n", default.clone(), "row 2, column \"label\": the cell is empty"),
        ("y.txt", "a\n", label("kind"), "there is no column \"kind\": name one of label"),
        ("y.json", "", default.clone(), "labels are read from .csv, .tsv, .txt"),
    ];
    for (name, text, columns, want) in cases {
        let problem = table_problem(name, text, &columns);
        assert!(problem.contains(want), "{text:?}: {problem}");
    }
    assert!(
        table_problem("y.csv", b"label\na\n\xff\n", &default).starts_with("line 3, field 1: the text is not UTF-8")
    );
    assert!(table_problem("y.txt", b"a\n\xff\n", &default).starts_with("line 2: the text is not UTF-8"));
    let floats = problem(&golden("little_f4.npy"), open_table(golden("little_f4.npy"), &default).map(|_| ()));
    assert!(floats.starts_with("numbers of type \"<f4\" are no labels"), "{floats}");
    let square = problem(&golden("int.npy"), open_table(golden("int.npy"), &default).map(|_| ()));
    assert!(square.starts_with("the array has 2 axes but labels have 1"), "{square}");
    let header = r#"{"label":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"group":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#;
    let uneven = table_problem("y.safetensors", safetensors(header, &[0; 3]), &default);
    assert_eq!(uneven, "\"group\" has 1 rows but \"label\" has 2: give one value per embedding");
    let none = table_problem("y.safetensors", safetensors("{}", &[]), &default);
    assert!(none.starts_with("there is no 1-D tensor of whole numbers"), "{none}");
}

#[test]
fn bad_arrays_say_what_is_wrong() {
    let dict = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let floats = |shape| dict("'<f4'", shape);
    let huge = usize::MAX;
    let cases = [
        (vec![], "this is no .npy file"),
        (b"PK\x03\x04".to_vec(), "this is no .npy file"),
        (b"\x93NUMPY".to_vec(), "the file ends inside its header"),
        (b"\x93NUMPY\x01\x00\xff".to_vec(), "the file ends inside its header"),
        (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "the file ends inside its header"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "the format is version 9.0"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "the header says it has 4294967295 bytes"),
        (npy("{}", &[]), "the header \"{}\" is not that of a plain array"),
        (npy(&floats("(3)"), &[0; 12]), "the header"),
        (npy(&floats("(-3, 1)"), &[0; 12]), "the header"),
        (npy(&format!("{} x", floats("(3, 1)").trim()), &[0; 12]), "the header"),
        (npy("{'descr':'<f4','descr':'<f4','fortran_order':False,'shape':(1,1)}", &[0; 4]), "the header"),
        (npy(&dict("[('a', '<f4')]", "(3,)"), &[0; 12]), "the header"),
        (npy(&dict("'<i8'", "(1, 1)"), &[0; 8]), "numbers of type \"<i8\" are no embeddings"),
        (npy(&floats("(3,)"), &[0; 12]), "the array has 1 axes but embeddings have 2"),
        (npy(&floats("(3, 0)"), &[]), "the array is [3, 0], rows without values"),
        (npy(&floats("(3, 2)"), &[0; 23]), "an array [3, 2] of <f4 is 24 bytes but the file holds 23"),
        (npy(&floats("(3, 2)"), &[0; 25]), "an array [3, 2] of <f4 is 24 bytes but the file holds 25"),
        (npy(&floats(&format!("({huge}, {huge})")), &[0; 4]), "more bytes than can be counted"),
        (npy(&floats(&format!("({huge}0, 1)")), &[0; 4]), "the header"),
        (npy(&floats(&format!("(0, {huge})")), &[]), "there are no rows, of 18446744073709551615 values each"),
    ];
    for (bytes, want) in cases {
        let problem = vectors_problem("x.npy", &bytes, None);
        assert!(problem.starts_with(want) || want.len() > 20 && problem.contains(want), "{want}: {problem}");
    }
    let fortran = problem(&golden("fortran.npy"), open_vectors(golden("fortran.npy"), None).map(|_| ()));
    assert_eq!(fortran, "the array is in Fortran order: save numpy.ascontiguousarray(x)");
    assert!(vectors_problem("x.npy", "", Some("x")).contains("name no tensor"));
    assert!(vectors_problem("x.pt", "", None).starts_with("embeddings are read from .npy, .safetensors and .parquet"));
    let missing = open_vectors("no/such.npy", None).map(|_| ()).unwrap_err();
    assert!(matches!(&missing, Error::Io { path, .. } if path == Path::new("no/such.npy")), "{missing}");
    assert!(missing.to_string().starts_with("no/such.npy: "), "{missing}");
}

#[test]
fn bad_tensors_say_what_is_wrong() {
    let tensor = |dtype: &str, shape: &str, end: usize| {
        safetensors(&format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#), &[0; 8])
    };
    let cases = [
        (vec![], None, "this is no whole .safetensors file"),
        (vec![0xff; 8], None, "this is no whole .safetensors file"),
        (safetensors("{}", &[]), None, "there is not just one 2-D tensor of floats: name one of none"),
        (tensor("F32", "[2,1]", 12), None, "this is no whole .safetensors file"),
        (tensor("F32", "[3,1]", 8), None, "this is no whole .safetensors file"),
        (tensor("F32", "[18446744073709551615,18446744073709551615]", 8), None, "this is no whole .safetensors file"),
        (tensor("F32", "[2,1]", 8), Some("y"), "there is no tensor \"y\": name one of x F32 [2, 1]"),
        (tensor("F32", "[2]", 8), Some("x"), "tensor \"x\" is [2]: embeddings are [n, d]"),
        (
            safetensors(r#"{"x":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}"#, &[]),
            None,
            "there are no rows, of 4611686018427387904 values each",
        ),
        (tensor("I64", "[1,1]", 8), Some("x"), "tensor \"x\" is of type I64: embeddings are F32"),
        (
            fs::read(golden("four.safetensors")).unwrap(),
            None,
            "there is not just one 2-D tensor of floats: name one of bf16",
        ),
    ];
    for (bytes, tensor, want) in cases {
        let problem = vectors_problem("x.safetensors", bytes, tensor);
        assert!(problem.starts_with(want), "{want}: {problem}");
    }
}

#[test]
fn rows_that_no_metric_can_use_are_found() {
    let values = [0.0, -0.0, 1.0, 0.0, 0.0, 0.0];
    let x = Matrix::new(&values, 3, 2).unwrap();
    assert_eq!(zero_rows(&x).unwrap(), Some(ZeroRows { first: 0, count: 2 }));
    assert_eq!(zero_rows(&Matrix::new(&values[2..4], 1, 2).unwrap()).unwrap(), None);
    assert_eq!(zero_rows(&Matrix::new(&[], 7, 0).unwrap()).unwrap(), None);
    check_finite(&x).unwrap();
    // Beyond the first block.
    let mut many = vec![0.5; 3 * 50_000];
    many[3 * 40_000 + 2] = f32::NEG_INFINITY;
    many[3 * 30_000..][..3].fill(0.0);
    let x = Matrix::new(&many, 50_000, 3).unwrap();
    let error = check_finite(&x).unwrap_err().to_string();
    assert!(error.starts_with("embedding 40000 holds -inf in column 2"), "{error}");
    assert_eq!(zero_rows(&x).unwrap(), Some(ZeroRows { first: 30_000, count: 1 }));
}

#[test]
fn one_label_per_embedding() {
    let columns = ColumnNames::default();
    let set = golden("set.safetensors");
    let labelled = Labelled::open(&set, None, golden("table.csv"), &columns).unwrap();
    assert_eq!((labelled.vectors.rows(), labelled.table.rows()), (5, 5));
    let (_folder, path) = file("labels.csv", "label\n1\n2\n");
    let error = Labelled::open(golden("little_f4.npy"), None, &path, &columns).unwrap_err().to_string();
    assert_eq!(error, "labels.csv has 2 rows but little_f4.npy has 5: give one label per embedding");
}

#[test]
fn writing_takes_the_place_of_a_file_and_leaves_nothing_beside_it() {
    let (folder, path) = file("x.npy", "old");
    let values = embeddings();
    write_npy(&path, Matrix::new(&values, 5, 3).unwrap()).unwrap();
    // The very bytes that numpy writes.
    assert_eq!(fs::read(&path).unwrap(), fs::read(golden("little_f4.npy")).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let x = Matrix::new(&values, 5, 3).unwrap();
    let nowhere = folder.path().join("none/x.npy");
    assert!(matches!(write_npy(&nowhere, x), Err(Error::Io { path, .. }) if path == nowhere));
    assert!(write_safetensors(&path, "__metadata__", x).unwrap_err().to_string().contains("another name"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(rows in 0_usize..9, dim in 1_usize..9, bits in prop::collection::vec(any::<u32>(), 64),
                               name in "\\PC{0,12}") {
        prop_assume!(name != "__metadata__");
        let values: Vec<f32> = bits[..rows * dim].iter().map(|&b| f32::from_bits(b)).collect();
        let x = Matrix::new(&values, rows, dim).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (npy, tensors) = (folder.path().join("x.npy"), folder.path().join("x.safetensors"));
        write_npy(&npy, x).unwrap();
        write_safetensors(&tensors, &name, x).unwrap();
        for read in [open_vectors(npy, None), open_vectors(&tensors, None), open_vectors(&tensors, Some(&name))] {
            let read = read.unwrap();
            prop_assert_eq!((read.rows(), read.dim()), (rows, dim));
            let read: Vec<u32> = read.block(0..rows).unwrap().iter().map(|v| v.to_bits()).collect();
            prop_assert_eq!(&read[..], &bits[..rows * dim]);
        }
    }

    #[test]
    fn names_are_numbered_in_order(cells in prop::collection::vec("[0-9]{1,3}|[a-c]{1,2}", 0..20)) {
        let made = Categories::new(&cells).unwrap();
        prop_assert_eq!(made.ids.len(), cells.len());
        let number = |text: &str| text.parse::<i128>();
        let numbers = cells.iter().all(|cell| number(cell).is_ok());
        for (cell, &id) in cells.iter().zip(&made.ids) {
            let name = &made.names[id as usize];
            prop_assert!(name == cell || numbers && number(name) == number(cell));
        }
        for pair in made.names.windows(2) {
            let ordered = if numbers { number(&pair[0]).ok() < number(&pair[1]).ok() } else { pair[0] < pair[1] };
            prop_assert!(ordered, "{:?}", made.names);
        }
    }
}
