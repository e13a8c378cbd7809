//! Omniglot as it lies on disk, and the two published baselines of its one-shot task: they check the harness.
//!
//! Needs `cargo xtask dataset fetch omniglot` (and `omniglot-full`) and the variable `DML_DATA_DIR`; skips without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

use dml_core::{Matrix, Metric};
use dml_data::sources::omniglot::{self, ORIGINAL_SIZE, OneShotRun, Part};
use dml_data::{Dataset, ImageSet, Manifest};
use dml_eval::{Centring, Ink, OneShot, OneShotTrials, one_shot};
use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;

/// The data folder if it holds the set `name`; says why not.
fn data_dir(name: &str) -> Option<PathBuf> {
    let Some(data) = env::var_os("DML_DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from) else {
        println!("skipped: DML_DATA_DIR is not set");
        return None;
    };
    let manifest = Manifest::find(name).unwrap();
    match manifest.verify(&data) {
        Ok(()) => Some(data),
        Err(dml_data::Error::Missing { .. }) => {
            println!("skipped: {}", manifest.fetch_command());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn pixels(set: &ImageSet) -> Vec<f32> {
    (0..set.len()).flat_map(|i| set.pixels(i)).map(|&value| f32::from(value) / 255.0).collect()
}

fn ink(set: &ImageSet, centring: Centring) -> Vec<Ink> {
    (0..set.len()).map(|i| Ink::new(set.pixels(i), ORIGINAL_SIZE, centring).unwrap()).collect()
}

fn pixel_neighbour(run: &OneShotRun) -> OneShotTrials {
    let (train, test) = (pixels(&run.train), pixels(&run.test));
    let matrix = |pixels| Matrix::new(pixels, omniglot::WAYS, ORIGINAL_SIZE * ORIGINAL_SIZE).unwrap();
    OneShotTrials::from_embeddings(Metric::Euclidean, matrix(&train), matrix(&test), run.answers()).unwrap()
}

fn modified_hausdorff(run: &OneShotRun, centring: Centring) -> OneShotTrials {
    let (train, test) = (ink(&run.train, centring), ink(&run.test, centring));
    OneShotTrials::measure(run.answers().to_vec(), train.len(), |i, j| test[i].distance(&train[j])).unwrap()
}

fn report(name: &str, runs: Vec<OneShotTrials>) -> OneShot {
    let report = one_shot(&runs).unwrap();
    println!(
        "{name}: error {:.2} % of {} trials, std {:.2} over runs",
        100.0 * report.error,
        report.trials,
        100.0 * report.std
    );
    report
}

#[test]
fn baselines_of_the_one_shot_runs_are_the_published_ones() {
    let Some(data) = data_dir("omniglot") else { return };
    let runs = omniglot::one_shot_runs(&data, ORIGINAL_SIZE).unwrap();
    assert_eq!(runs.len(), 20);
    let neighbour = report("pixel nearest neighbour", runs.iter().map(pixel_neighbour).collect());
    assert_eq!((neighbour.trials, neighbour.error), (400, 0.81));
    let exact = report("modified Hausdorff", runs.iter().map(|run| modified_hausdorff(run, Centring::Exact)).collect());
    // 155 of 400; Lake et al. (https://github.com/brendenlake/omniglot) print 38.8 %.
    assert_eq!(exact.error, 0.3875);
    let rounded = runs.iter().map(|run| modified_hausdorff(run, Centring::Rounded)).collect();
    assert_eq!(report("modified Hausdorff, whole pixels", rounded).error, 0.3975);
}

#[test]
fn the_background_sets_have_the_counts_of_the_manifest() {
    let Some(data) = data_dir("omniglot") else { return };
    for (part, classes, alphabets) in [
        (Part::Small1, 136, ["Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"]),
        (Part::Small2, 156, ["Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"]),
    ] {
        let set = omniglot::background(&data, part, 28).unwrap();
        assert_eq!((set.class_names().len(), set.len(), set.shape()), (classes, 20 * classes, [1, 28, 28]));
        assert_eq!(set.domain_names().len(), 20);
        let mut found: Vec<&str> = set.class_names().iter().map(|name| name.split('/').next().unwrap()).collect();
        found.dedup();
        assert_eq!(found, alphabets);
        // Each drawer draws each character once, and every drawing has ink on a dark ground.
        for i in 0..set.len() {
            assert_eq!(set.labels()[i] as usize * 20 + set.domains()[i] as usize, i);
            let light = set.pixels(i).iter().filter(|&&value| value > 127).count();
            assert!((5..300).contains(&light), "{}: {light} of 784 pixels are light", set.class_names()[i / 20]);
        }
    }
}

#[test]
fn the_full_set_is_cut_as_vinyals_did() {
    let Some(data) = data_dir("omniglot-full") else { return };
    let split = omniglot::full(&data).unwrap();
    for (set, classes) in [(&split.train, 1028), (&split.validation, 172), (&split.test, 423)] {
        assert_eq!((set.class_names().len(), set.len()), (classes, 20 * classes), "{}", set.name());
        assert!((0..classes as u32).all(|class| set.labels().iter().filter(|&&label| label == class).count() == 20));
    }
    assert_eq!(split.test.with_rotations().unwrap().class_names().len(), 1692);
}

#[test]
fn the_full_set_is_cut_as_lake_did() {
    let Some(data) = data_dir("omniglot-full") else { return };
    let sets = omniglot::background_and_evaluation(&data).unwrap();
    let alphabets = sets.each_ref().map(|set| {
        set.class_names().iter().map(|name| name.split_once('/').unwrap().0.to_owned()).collect::<BTreeSet<_>>()
    });
    assert_eq!(sets.each_ref().map(|set| (set.class_names().len(), set.len())), [(964, 19_280), (659, 13_180)]);
    assert_eq!(alphabets.each_ref().map(BTreeSet::len), [30, 20]);
    assert!(alphabets[0].is_disjoint(&alphabets[1]), "alphabets are whole");
    assert_eq!(sets[1].name(), "omniglot/evaluation");
}

#[test]
fn both_ways_to_28_pixels_agree() {
    let (Some(small), Some(full)) = (data_dir("omniglot"), data_dir("omniglot-full")) else { return };
    let (set, split) = (omniglot::background(&small, Part::Small1, 28).unwrap(), omniglot::full(&full).unwrap());
    let name = "Balinese/character01";
    let images = |set: &ImageSet| -> Vec<Vec<u8>> {
        let class = set.class_names().iter().position(|known| known == name).unwrap() as u32;
        (0..set.len()).filter(|&i| set.labels()[i] == class).map(|i| set.pixels(i).to_vec()).collect()
    };
    let theirs: Vec<Vec<u8>> = [&split.train, &split.validation, &split.test]
        .into_iter()
        .filter(|set| set.class_names().iter().any(|known| known == name))
        .flat_map(images)
        .collect();
    // The full set has lost the order of the drawers, and another library shrank it.
    for (i, ours) in images(&set).iter().enumerate() {
        let difference = |theirs: &Vec<u8>| {
            let squares = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            (squares.sum::<f64>() / ours.len() as f64).sqrt()
        };
        let nearest = theirs.iter().map(difference).fold(f64::INFINITY, f64::min);
        assert!(nearest < 4.0, "image {i} differs by {nearest} grey values from its like in the full set");
    }
}
