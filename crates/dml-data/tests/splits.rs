//! No class is in two parts of a split, whether a rule deals the classes or the folders do.

use dml_data::sources::image_folder::{self, FolderSet};
use dml_data::{ClassFolds, Dataset, ImageSet, Split, SplitRule};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn names(n: usize) -> Vec<String> {
    (0..n).map(|class| format!("class {class}")).collect()
}

proptest! {
    #[test]
    fn every_class_is_in_one_part(
        n in 20usize..200, seed: u64, test in 0.1f64..0.6, validation in 0.1f64..0.6,
    ) {
        let rule = SplitRule { seed, test, validation };
        let parts = rule.classes(&names(n)).unwrap();
        let tests = (n as f64 * test).round() as usize;
        let validations = ((n - tests) as f64 * validation).round() as usize;
        prop_assert_eq!([parts.test.len(), parts.validation.len()], [tests, validations]);
        for part in [&parts.train, &parts.validation, &parts.test] {
            prop_assert!(part.is_sorted());
        }
        let mut all = [parts.train.as_slice(), &parts.validation, &parts.test].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
        prop_assert_eq!(rule.classes(&names(n)).unwrap(), parts);
    }

    #[test]
    fn a_class_is_dealt_by_its_name(n in 20usize..100, seed: u64, turn in 1usize..20) {
        let rule = SplitRule { seed, ..SplitRule::default() };
        let tests = |names: &[String]| -> BTreeSet<String> {
            rule.classes(names).unwrap().test.iter().map(|&class| names[class as usize].clone()).collect()
        };
        let mut turned = names(n);
        turned.rotate_left(turn);
        prop_assert_eq!(tests(&names(n)), tests(&turned));
    }
}

#[test]
fn another_seed_is_another_split() {
    let split = |seed| SplitRule { seed, ..SplitRule::default() }.classes(&names(100)).unwrap().test;
    let different: BTreeSet<_> = (0..50).map(split).collect();
    assert_eq!(different.len(), 50);
}

#[test]
fn shares_that_leave_a_part_empty_are_refused() {
    let message =
        |test, validation, n| SplitRule { seed: 0, test, validation }.classes(&names(n)).unwrap_err().to_string();
    assert!(message(1.0, 0.25, 100).contains("split.test = 1: give a share of at least 0 and below 1"));
    assert!(message(0.5, -0.5, 100).contains("split.validation = -0.5"));
    assert!(message(f64::NAN, 0.25, 100).contains("split.test = NaN"));
    assert!(message(0.5, 0.25, 3).contains("3 classes are too few for a split with test = 0.5 and validation = 0.25"));
    assert!(message(0.01, 0.25, 20).contains("20 classes are too few"));
    let whole = SplitRule { seed: 0, test: 0.0, validation: 0.0 }.classes(&names(2)).unwrap();
    assert_eq!((whole.train, whole.validation, whole.test), (vec![0, 1], vec![], vec![]));
}

#[test]
fn images_go_with_their_class() {
    let labels: Vec<u32> = (0..60).map(|image| image % 20).collect();
    let set = ImageSet::from_pixels("toy", [1, 1, 1], (0..60).collect(), labels, names(20)).unwrap();
    let split = SplitRule::default().split(&set).unwrap();
    let parts = [&split.train, &split.validation, &split.test];
    assert_eq!(parts.map(|part| part.class_names().len()), [7, 3, 10]);
    assert_eq!(parts.map(Dataset::name), ["toy/train", "toy/validation", "toy/test"]);
    for part in parts {
        assert_eq!(part.len(), 3 * part.class_names().len());
        for (image, &label) in part.labels().iter().enumerate() {
            // The pixel tells the image's number, and that its first class.
            let class = u32::from(part.pixels(image)[0]) % 20;
            assert_eq!(part.class_names()[label as usize], format!("class {class}"));
        }
    }
}

/// Writes `root/<class>/<n>.png` of one colour each, 4×4.
fn write_classes(root: &Path, classes: &[&str]) {
    for (class, name) in classes.iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for n in 0..2 {
            let pixel = image::Rgb([class as u8, n, 7]);
            image::RgbImage::from_pixel(4, 4, pixel).save(root.join(name).join(format!("{n}.png"))).unwrap();
        }
    }
}

#[test]
fn a_folder_of_class_folders_is_cut_by_the_default_rule() {
    let root = tempfile::tempdir().unwrap();
    let classes = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"];
    write_classes(root.path(), &classes);
    fs::write(root.path().join("ant/notes.txt"), "no image").unwrap();
    fs::create_dir(root.path().join(".hidden")).unwrap();
    let whole = image_folder::set(root.path(), 4).unwrap();
    assert_eq!(
        (whole.len(), whole.shape(), whole.class_names()),
        (16, [3, 4, 4], classes.map(String::from).as_slice())
    );
    assert_eq!(&whole.pixels(5)[..3], [2, 1, 7], "image 1 of class 2");
    let split = image_folder::load(root.path(), 4).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [6, 2, 8]);
    as_loaded(root.path());
}

/// Folds, catalogues and images that are read one by one are those of the folder in memory.
fn as_loaded(root: &Path) {
    let split = image_folder::load(root, 4).unwrap();
    let parts = || image_folder::parts(root, 4).unwrap();
    let known = |set: &dyn Dataset| {
        let images: Vec<_> = (0..set.len()).map(|i| (set.id(i), set.image(i).unwrap())).collect();
        (set.name().to_owned(), set.labels().to_vec(), set.class_names().to_vec(), images)
    };
    let same = |parts: &[FolderSet; 3], split: &Split| {
        for (part, loaded) in parts.iter().zip([&split.train, &split.validation, &split.test]) {
            assert_eq!(known(part), known(loaded));
            assert_eq!(part.bytes(), 48 * loaded.len() as u64);
            assert!(part.image(part.len()).unwrap_err().to_string().contains("does not exist"));
        }
    };
    same(&parts(), &split);
    let catalog = image_folder::catalog(root).unwrap();
    for (part, name) in parts().iter().zip(["train", "validation", "test"]) {
        let listed = catalog.part(name).unwrap();
        assert_eq!((listed.labels(), listed.class_names()), (part.labels(), part.class_names()));
        assert!((0..listed.len()).all(|i| listed.path(i) == part.id(i)));
        listed.check_files().unwrap();
    }
    for (fold, shuffle) in [(0, None), (1, None), (1, Some(4))] {
        let folds = ClassFolds { folds: 2, shuffle };
        match split.with_fold(&folds, fold) {
            Ok(dealt) => {
                let parts = image_folder::with_fold(parts(), &folds, fold).unwrap();
                same(&parts, &dealt);
                let listed = catalog.clone().with_fold(&folds, fold).unwrap();
                let names = |part: &str| listed.part(part).unwrap().class_names().to_vec();
                assert_eq!([names("train"), names("validation")], [0, 1].map(|at| parts[at].class_names().to_vec()));
            }
            Err(_) => assert!(image_folder::with_fold(parts(), &folds, fold).is_err(), "too few classes"),
        }
    }
}

#[test]
fn given_parts_are_taken_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    write_classes(&root.path().join("train"), &["ant", "bee"]);
    let message = image_folder::load(root.path(), 4).unwrap_err().to_string();
    assert!(message.contains("validation: has some of train, validation and test, but not all"), "{message}");
    write_classes(&root.path().join("validation"), &["cat"]);
    write_classes(&root.path().join("test"), &["dog"]);
    let split = image_folder::load(root.path(), 4).unwrap();
    let names = [&split.train, &split.validation, &split.test].map(|part| part.class_names().join(" "));
    assert_eq!(names, ["ant bee", "cat", "dog"]);
    as_loaded(root.path());
    // Folds are of names in order, whatever part they come from.
    write_classes(&root.path().join("validation"), &["aal", "cat"]);
    as_loaded(root.path());
    write_classes(&root.path().join("test"), &["bee"]);
    let message = image_folder::load(root.path(), 4).unwrap_err().to_string();
    assert!(message.contains("class bee is in train and in test: a class belongs to one part"), "{message}");
}

#[test]
fn folders_without_images_are_named() {
    let root = tempfile::tempdir().unwrap();
    for error in [
        image_folder::load(root.path(), 4).unwrap_err(),
        image_folder::parts(root.path(), 4).unwrap_err(),
        image_folder::catalog(root.path()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("has no class folders"), "{error}");
    }
    fs::create_dir(root.path().join("ant")).unwrap();
    assert!(image_folder::load(root.path(), 4).unwrap_err().to_string().contains("ant: a class without images"));
}

/// The names of the classes, in their order.
fn classes(set: &ImageSet) -> Vec<String> {
    set.class_names().to_vec()
}

proptest! {
    #[test]
    fn every_class_is_held_out_once(n in 4usize..120, folds in 2usize..9, shuffle: Option<u64>) {
        prop_assume!(n / folds >= 2);
        let dealer = ClassFolds { folds, shuffle };
        let parts: Vec<Vec<u32>> = (0..folds).map(|fold| dealer.held_out(&names(n), fold).unwrap()).collect();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        prop_assert!(parts.iter().all(|part| part.is_sorted()));
        let mut all = parts.concat();
        if shuffle.is_none() {
            prop_assert!(all.is_sorted());
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
    }
}

#[test]
fn shuffled_folds_differ_by_seed_and_not_by_the_place_of_a_class() {
    let held_out = |names: &[String], shuffle| -> BTreeSet<String> {
        let classes = ClassFolds { folds: 4, shuffle }.held_out(names, 1).unwrap();
        classes.into_iter().map(|class| names[class as usize].clone()).collect()
    };
    let mut turned = names(40);
    turned.rotate_left(13);
    assert_eq!(held_out(&names(40), Some(3)), held_out(&turned, Some(3)));
    assert_ne!(held_out(&names(40), Some(3)), held_out(&names(40), Some(4)));
    assert_ne!(held_out(&names(40), None), held_out(&turned, None));
}

#[test]
fn folds_take_training_and_validation_classes_and_leave_the_test() {
    let labels: Vec<u32> = (0..60).map(|image| image % 20).collect();
    let set = ImageSet::from_pixels("toy", [1, 1, 1], (0..60).collect(), labels, names(20)).unwrap();
    let split = SplitRule::default().split(&set).unwrap();
    let folds = ClassFolds { folds: 4, shuffle: None };
    let mut pooled = [classes(&split.train), classes(&split.validation)].concat();
    pooled.sort();
    let mut held_out = Vec::new();
    for fold in 0..4 {
        let dealt = split.with_fold(&folds, fold).unwrap();
        assert_eq!(classes(&dealt.test), classes(&split.test));
        assert_eq!([dealt.train.name(), dealt.validation.name()], ["toy/train", "toy/validation"]);
        let mut both = [classes(&dealt.train), classes(&dealt.validation)].concat();
        both.sort();
        assert_eq!(both, pooled);
        for part in [&dealt.train, &dealt.validation] {
            assert_eq!(part.len(), 3 * part.class_names().len());
            for (image, &label) in part.labels().iter().enumerate() {
                let class = u32::from(part.pixels(image)[0]) % 20;
                assert_eq!(part.class_names()[label as usize], format!("class {class}"));
            }
        }
        held_out.extend(classes(&dealt.validation));
    }
    // Neighbours by name.
    assert_eq!(held_out, pooled);
}

#[test]
fn folds_that_cannot_be_are_refused() {
    let message =
        |folds, n, fold| ClassFolds { folds, shuffle: None }.held_out(&names(n), fold).unwrap_err().to_string();
    assert!(message(4, 40, 4).contains("fold 4 of 4: folds count from 0"));
    assert!(message(1, 40, 0).contains("want two folds or more"));
    assert!(message(4, 7, 0).contains("4 folds of 7 classes"));
}

#[test]
fn names_of_images_go_with_them_through_joins_turns_and_splits() {
    let set = |name: &str, class: &str, named: bool| {
        let set = ImageSet::from_pixels(name, [1, 1, 1], vec![1, 2], vec![0, 0], vec![class.to_owned()]).unwrap();
        match named {
            true => set.with_ids(vec![format!("{class}/a.png"), format!("{class}/b.png")]).unwrap(),
            false => set,
        }
    };
    let joined = set("animals", "cat", true).joined(&set("birds", "owl", false)).unwrap();
    let ids = |set: &ImageSet| (0..set.len()).map(|i| set.id(i)).collect::<Vec<_>>();
    assert_eq!(ids(&joined), ["cat/a.png", "cat/b.png", "birds/0", "birds/1"]);
    let turned = joined.with_rotations().unwrap();
    assert_eq!(turned.id(5), "cat/b.png@90");
    assert_eq!(turned.id(14), "birds/0@270");
    let unique: BTreeSet<String> = ids(&turned).into_iter().collect();
    assert_eq!(unique.len(), turned.len());
    let parts = SplitRule { seed: 1, test: 0.5, validation: 0.25 }.split(&turned).unwrap();
    for part in [&parts.train, &parts.validation, &parts.test] {
        for i in 0..part.len() {
            let whole = (0..turned.len()).find(|&at| turned.id(at) == part.id(i)).expect("a name of the whole");
            let class = |set: &ImageSet, at: usize| set.class_names()[set.labels()[at] as usize].clone();
            assert_eq!(class(part, i), class(&turned, whole));
        }
    }
}
