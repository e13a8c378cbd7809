//! One's own tables: parts, roles, groups and boxes as the columns say, and what is wrong named with its place.

mod tiny;

use dml_data::sources::table;
use dml_data::{Catalog, CatalogBuilder, Expected, FileEntry, Files, Membership, SplitRule};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tempfile::TempDir;

const TABLE: &str = "\
label,path,split,is_query,is_gallery,box,group,remark
wren,b/1.jpg,train,true,true,,north,
gull,a/1.jpg,train,1,1,1 2 3.5 4,south,x
wren,b/2.jpg,train,yes,yes,,north,
finch,c/1.jpg,val,true,false,\"[0, 0, 8, 8]\",north,
finch,c/2.jpg,val,false,true,,,
";

fn table(content: &str) -> (TempDir, dml_data::Result<Catalog>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("birds.csv");
    fs::write(&path, content).unwrap();
    let catalog = table::open(&path, None);
    (folder, catalog)
}

fn message(content: &str) -> String {
    table(content).1.unwrap_err().to_string()
}

#[test]
fn a_table_says_where_each_image_belongs() {
    let (folder, catalog) = table(TABLE);
    let catalog = catalog.unwrap();
    assert_eq!((catalog.name(), catalog.len(), catalog.root()), ("birds", 5, folder.path()));
    assert_eq!(
        (catalog.labels(), catalog.class_names()),
        ([0, 1, 0, 2, 2].as_slice(), names(&["wren", "gull", "finch"]))
    );
    assert_eq!(catalog.part_names(), ["train", "validation"]);
    assert_eq!((catalog.bounding_box(0), catalog.bounding_box(1)), (None, Some([1.0, 2.0, 3.5, 4.0])));
    assert_eq!(catalog.group_names(), ["north", "south", ""]);
    assert_eq!(catalog.groups(), [0, 1, 0, 0, 2]);
    let validation = catalog.part("validation").unwrap();
    assert_eq!((validation.labels(), validation.class_names()), ([0, 0].as_slice(), names(&["finch"])));
    assert_eq!((validation.name(), validation.path(1)), ("birds/validation", "c/2.jpg"));
    assert_eq!(validation.bounding_box(0), Some([0.0, 0.0, 8.0, 8.0]));
    assert_eq!([0, 1].map(|i| (validation.is_query(i), validation.is_gallery(i))), [(true, false), (false, true)]);
    assert_eq!(catalog.part("query").unwrap().len(), 4);
    assert!(catalog.part("test").unwrap_err().to_string().contains("has no part `test`: it has train, validation"));
}

fn names(names: &[&str]) -> &'static [String] {
    names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>().leak()
}

#[test]
fn bytes_are_those_of_the_file() {
    let (folder, catalog) = table(TABLE);
    let catalog = catalog.unwrap();
    assert!(catalog.check_files().unwrap_err().to_string().contains("an image of class `wren` is not there"));
    let pictures: tiny::Files = (0..5).map(|i| tiny::picture(catalog.path(i), i as u8)).collect();
    tiny::write(folder.path(), &pictures);
    catalog.check_files().unwrap();
    let (path, bytes) = catalog.part("validation").unwrap().read(1).unwrap();
    assert_eq!((path, &bytes), (folder.path().join("c/2.jpg"), &pictures[4].1));
    assert!(catalog.read(5).unwrap_err().to_string().contains("sample 5 does not exist: there are 5"));
}

#[test]
fn a_classification_split_is_refused_until_named() {
    let seen = "path,label,split\n1.jpg,wren,train\n2.jpg,wren,test\n";
    let error = message(seen);
    assert!(error.contains("class `wren` is in train and in test: a split for classification"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seen.tsv");
    fs::write(&path, seen.replace(',', "\t")).unwrap();
    assert_eq!(table::classification(&path, None).unwrap().len(), 2);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (from, to, expected) in [
        ("label,path", "label,file", "has no column `path` but label, file, split"),
        ("b/2.jpg", "", "line 4, column path: `` is empty"),
        ("wren,b/2.jpg", ",b/2.jpg", "line 4, column label: `` is empty"),
        ("train,1,1", "train,maybe,1", "line 3, column is_query: `maybe` is neither true nor false"),
        ("1 2 3.5 4", "1 2 3.5", "line 3, column box: `1 2 3.5` is not `left top width height`"),
        ("1 2 3.5 4", "1 2 nan 4", "line 3, column box"),
        ("1 2 3.5 4", "1 2 0 4", "line 3, column box"),
        ("b/2.jpg", "../2.jpg", "line 4, column path: `../2.jpg` cannot be used"),
        ("b/2.jpg", "/b/2.jpg", "line 4, column path: `/b/2.jpg` cannot be used"),
        ("b/2.jpg,train", "b/2.jpg,", "line 4, column split: `` is empty"),
        ("yes,yes,,north,", "yes,yes,,north", "line: 4"),
    ] {
        let error = message(&TABLE.replacen(from, to, 1));
        assert!(error.contains("birds.csv: ") && error.contains(expected), "{error}");
    }
    assert!(message("path,label\n").contains("has no rows"));
    let nowhere = table::open(std::path::Path::new("birds.xlsx"), None).unwrap_err().to_string();
    assert!(nowhere.contains("tables are read from .csv, .tsv and .parquet"), "{nowhere}");
}

#[test]
fn absolute_paths_below_the_root_are_fine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("birds.csv");
    fs::write(&path, format!("path,label\n{}/a/1.jpg,wren\n", folder.path().display())).unwrap();
    assert_eq!(table::open(&path, None).unwrap().path(0), "a/1.jpg");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_says_what_csv_says() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data");
    let parquet = table::open(&golden.join("birds.parquet"), None).unwrap();
    let (_folder, csv) = table(TABLE);
    let csv = csv.unwrap();
    let rows = |catalog: &Catalog| {
        (0..catalog.len())
            .map(|i| (catalog.path(i).to_owned(), catalog.labels()[i], catalog.bounding_box(i), catalog.is_query(i)))
            .collect::<Vec<_>>()
    };
    assert_eq!((rows(&parquet), parquet.class_names()), (rows(&csv), csv.class_names()));
    assert_eq!((parquet.groups(), parquet.part_names()), (csv.groups(), csv.part_names()));
}

fn catalog(members: &[(u8, u8)]) -> Catalog {
    let mut builder = CatalogBuilder::new("any", "any", Files::below("any"));
    for (i, (class, part)) in members.iter().enumerate() {
        let (class, part) = (format!("class {class}"), format!("part {part}"));
        builder.add(Membership::new(&class, &part), FileEntry::file(&format!("{i}.jpg"))).unwrap();
    }
    builder.finish()
}

proptest! {
    #[test]
    fn parts_are_whole_and_numbered_anew(members in proptest::collection::vec((0u8..20, 0u8..4), 1..100)) {
        let whole = catalog(&members);
        let mut seen = 0;
        for name in whole.part_names() {
            let part = whole.part(name).unwrap();
            seen += part.len();
            let used: BTreeSet<u32> = part.labels().iter().copied().collect();
            prop_assert_eq!(used, (0..part.class_names().len() as u32).collect::<BTreeSet<_>>());
            for i in 0..part.len() {
                let (class, of) = members[part.path(i).trim_end_matches(".jpg").parse::<usize>().unwrap()];
                prop_assert_eq!(&part.class_names()[part.labels()[i] as usize], &format!("class {class}"));
                prop_assert_eq!(name, &format!("part {of}"));
            }
        }
        prop_assert_eq!(seen, members.len());
        let classes_of = |name: &String| -> BTreeSet<String> { whole.part(name).unwrap().class_names().iter().cloned().collect() };
        let apart = whole.part_names().iter().enumerate().all(|(i, one)| {
            whole.part_names()[..i].iter().all(|other| classes_of(one).is_disjoint(&classes_of(other)))
        });
        prop_assert_eq!(whole.check_disjoint().is_ok(), apart);
    }

    #[test]
    fn dealt_classes_are_those_of_the_rule(members in proptest::collection::vec((0u8..40, 0u8..4), 100..200), seed: u64) {
        let rule = SplitRule { seed, ..SplitRule::default() };
        let dealt = catalog(&members).split(&rule).unwrap();
        dealt.check_disjoint().unwrap();
        let classes = rule.classes(dealt.class_names()).unwrap();
        let named = |ids: &[u32]| ids.iter().map(|&id| dealt.class_names()[id as usize].clone()).collect::<Vec<_>>();
        let test = dealt.part("test").unwrap();
        prop_assert_eq!(test.class_names(), named(&classes.test));
        let parts = ["train", "validation", "test"].map(|part| dealt.part(part).unwrap().len());
        prop_assert_eq!(parts.iter().sum::<usize>(), members.len());
    }

    #[test]
    fn any_bytes_are_a_table_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), rows in "[a-z,\"\n0-9./]{0,200}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        for content in [bytes, format!("path,label,split,box,is_query\n{rows}").into_bytes()] {
            fs::write(&path, content).unwrap();
            let _ = table::classification(&path, None);
        }
    }
}

#[test]
fn counts_name_the_class() {
    let whole = catalog(&[(1, 0), (1, 0), (2, 0), (3, 1)]);
    let check = |part: &str, expected: Expected| {
        whole.check_counts(&BTreeMap::from([(part.to_owned(), expected)])).map_err(|error| error.to_string())
    };
    check("part 0", Expected { classes: Some(2), samples: Some(3), per_class: Some([1, 2]) }).unwrap();
    check("all", Expected { classes: Some(3), samples: Some(4), per_class: None }).unwrap();
    let error = check("part 0", Expected { per_class: Some([2, 2]), ..Expected::default() }).unwrap_err();
    assert!(error.contains("any: part 0: class `class 2` has 1 samples but the manifest says 2"), "{error}");
    let error = check("train", Expected::default()).unwrap_err();
    assert!(error.contains("any has no part `train`: it has part 0, part 1"), "{error}");
}

#[test]
fn folds_deal_training_and_validation_classes_anew_and_leave_the_test() {
    let parts = ["train", "test", "train", "validation", "train", "train", "validation", "test", "train", "train"];
    let mut builder = CatalogBuilder::new("any", "any", Files::below("any"));
    for i in 0..30 {
        let class = format!("class {}", i % 10);
        builder.add(Membership::new(&class, parts[i % 10]), FileEntry::file(&format!("{i}.jpg"))).unwrap();
    }
    let whole = builder.finish();
    let folds = dml_data::ClassFolds { folds: 4, shuffle: None };
    let mut held_out = Vec::new();
    for fold in 0..4 {
        let dealt = whole.clone().with_fold(&folds, fold).unwrap();
        dealt.check_disjoint().unwrap();
        let [train, validation, test] = ["train", "validation", "test"].map(|part| dealt.part(part).unwrap());
        assert_eq!((train.len(), validation.len(), test.len()), (18, 6, 6));
        assert_eq!(test.class_names(), names(&["class 1", "class 7"]));
        held_out.extend(validation.class_names().to_vec());
    }
    // Neighbours, in the order of the source, whose parts were others.
    assert_eq!(held_out, [0, 2, 3, 4, 5, 6, 8, 9].map(|class| format!("class {class}")));
    assert!(whole.with_fold(&dml_data::ClassFolds { folds: 5, shuffle: None }, 0).is_err());
}
