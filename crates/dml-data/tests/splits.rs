//! No class is in two parts of a split, whether a rule deals the classes or the folders do.

use dml_data::sources::image_folder;
use dml_data::{Dataset, ImageSet, SplitRule};
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
    write_classes(&root.path().join("test"), &["bee"]);
    let message = image_folder::load(root.path(), 4).unwrap_err().to_string();
    assert!(message.contains("class bee is in train and in test: a class belongs to one part"), "{message}");
}

#[test]
fn folders_without_images_are_named() {
    let root = tempfile::tempdir().unwrap();
    assert!(image_folder::load(root.path(), 4).unwrap_err().to_string().contains("has no class folders"));
    fs::create_dir(root.path().join("ant")).unwrap();
    assert!(image_folder::load(root.path(), 4).unwrap_err().to_string().contains("ant: a class without images"));
}
