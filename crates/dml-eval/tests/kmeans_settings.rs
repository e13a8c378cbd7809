//! Settings of k-means and what is reported of them: presets, greedy seeding, watching; B-cubed against plain loops.

use dml_core::{Matrix, Metric};
use dml_eval::clustering::*;
use dml_eval::{Error, statistics};
use dml_testkit::load_goldens;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

/// `k` blobs of `each` rows, radius 0.2 at most, around different corners of a cube of side 10.
fn blobs(k: usize, each: usize) -> (Vec<f32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let labels: Vec<u32> = (0..k * each).map(|i| (i % k) as u32).collect();
    let corner = |label: u32, bit: u32| if label >> bit & 1 == 1 { 10.0 } else { 0.0 };
    let rows = labels.iter().flat_map(|&label| (0..8).map(move |bit| corner(label, bit)));
    (rows.map(|v| v + rng.random_range(-0.2..0.2f32)).collect(), labels)
}

#[test]
fn presets_are_those_of_their_namesakes() {
    let faiss = KMeans::faiss(9);
    assert_eq!((faiss.clusters, faiss.iterations, faiss.restarts, faiss.tolerance), (9, 25, 1, 0.0));
    assert_eq!((faiss.seed, faiss.init.clone(), faiss.spherical), (1234, Init::Random, false));
    let sklearn = KMeans::sklearn(9);
    assert_eq!((sklearn.iterations, sklearn.restarts, sklearn.tolerance), (300, 1, 1e-4));
    assert_eq!(sklearn.init, Init::GreedyPlusPlus);

    let (values, labels) = blobs(12, 20);
    let x = Matrix::new(&values, 240, 8).unwrap();
    let options = ClusterOptions { seeds: vec![5, 6], ..ClusterOptions::of(&sklearn) };
    let found = cluster_quality(Metric::Euclidean, x, &labels, &options).unwrap();
    assert_eq!((found.clusters, &found.options), (12, &options));
    for run in &found.runs {
        let alone = KMeans { clusters: 12, seed: run.seed, ..sklearn.clone() }.fit(x).unwrap();
        assert_eq!((run.inertia, run.iterations, run.converged), (alone.inertia, alone.iterations, true));
    }
    // What is written can be read again, and what is left out has its default.
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Clustering>(&json).unwrap().options, options);
    let read: ClusterOptions = serde_json::from_str(r#"{ "init": "greedy_plus_plus", "seeds": [4] }"#).unwrap();
    assert_eq!(read, ClusterOptions { seeds: vec![4], init: Init::GreedyPlusPlus, ..ClusterOptions::default() });
}

#[test]
fn greedy_seeding_finds_separated_blobs_at_once() {
    let (values, labels) = blobs(60, 8);
    let x = Matrix::new(&values, 480, 8).unwrap();
    let found = |init: &Init| {
        let start = |seed| KMeans { init: init.clone(), iterations: 0, seed, ..KMeans::new(60) };
        (0..20).filter(|&seed| start(seed).fit(x).unwrap().inertia < 480.0 * 2.0).count()
    };
    let [greedy, plain, random] = [Init::GreedyPlusPlus, Init::PlusPlus, Init::Random].map(|init| found(&init));
    assert!(greedy == 20 && plain <= greedy && random == 0, "{greedy} {plain} {random}");
    let options = ClusterOptions { seeds: (0..5).collect(), ..ClusterOptions::of(&KMeans::sklearn(60)) };
    let quality = cluster_quality(Metric::Euclidean, x, &labels, &options).unwrap();
    assert!(quality.runs.iter().all(|run| run.agreement.ari == 1.0), "{quality:?}");
}

#[test]
fn seeding_starts_as_well_as_that_of_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/clustering.safetensors");
    let case = load_goldens(&path).unwrap().into_iter().find(|case| case.has("seeding_plain")).unwrap();
    let tensor = case.tensor("rows").unwrap();
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    let x = Matrix::new(&values, tensor.dims()[0], tensor.dims()[1]).unwrap();
    let k = case.tensor("start").unwrap().dims()[0];
    let mut means = Vec::new();
    for (name, init) in [("seeding_plain", Init::PlusPlus), ("seeding_greedy", Init::GreedyPlusPlus)] {
        let start = |seed| KMeans { init: init.clone(), iterations: 0, seed, ..KMeans::new(k) }.fit(x).unwrap().inertia;
        let ours: Vec<f64> = (0..150).map(start).collect();
        let [mean, std] = case.numbers(name).unwrap()[..] else { panic!("mean and deviation") };
        // Four standard errors of the difference of a mean of 400 and one of 150, and a quarter for the deviation.
        let allowed = 4.0 * std * (1.0f64 / 400.0 + 1.0 / 150.0).sqrt();
        assert!((statistics::mean(&ours) - mean).abs() < allowed, "{name}: {} {mean}", statistics::mean(&ours));
        assert!((statistics::std(&ours) / std - 1.0).abs() < 0.25, "{name}: {} {std}", statistics::std(&ours));
        means.push((mean, allowed));
    }
    // The two are far enough apart that one cannot pass for the other.
    assert!(means[0].0 - means[1].0 > 2.0 * means[0].1, "{means:?}");
}

#[test]
fn greedy_seeding_follows_from_the_seed_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let values: Vec<f32> = (0..3000 * 4).map(|_| rng.random_range(-1.0..1.0)).collect();
    let x = Matrix::new(&values, 3000, 4).unwrap();
    let on = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| KMeans { seed, iterations: 3, ..KMeans::sklearn(30) }.fit(x).unwrap())
    };
    assert_eq!(on(1, 7), on(3, 7));
    assert_ne!(on(1, 7), on(1, 8));
    // Fewer different rows than clusters.
    let same = [2.5f32; 14];
    let found = KMeans::sklearn(5).fit(Matrix::new(&same, 7, 2).unwrap()).unwrap();
    assert_eq!((found.inertia, found.assignment), (0.0, vec![0; 7]));
}

#[test]
fn the_watcher_sees_every_pass_and_can_break_off() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let values: Vec<f32> = (0..700 * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
    let labels: Vec<u32> = (0..700).map(|i| i % 20).collect();
    let x = Matrix::new(&values, 700, 3).unwrap();
    let options = ClusterOptions { restarts: 2, iterations: 3, tolerance: 0.0, ..ClusterOptions::default() };
    let seen = Mutex::new(BTreeSet::new());
    let watched = cluster_quality_watched(Metric::Euclidean, x, &labels, &options, &|p: Progress| {
        seen.lock().unwrap().insert((p.seed, p.restart, p.pass));
        ControlFlow::Continue(())
    });
    assert_eq!(watched.unwrap(), cluster_quality(Metric::Euclidean, x, &labels, &options).unwrap());
    let seen = seen.into_inner().unwrap();
    for seed in 0..3 {
        for restart in 0..2 {
            for pass in 0..3 {
                assert!(seen.contains(&(seed, restart, pass)), "{seed} {restart} {pass}: {seen:?}");
            }
        }
    }
    let most = seen.iter().map(|at| at.2).max();
    assert!(most <= Some(3), "{seen:?}");

    for init in [Init::PlusPlus, Init::GreedyPlusPlus, Init::Random] {
        for last in [Progress { seed: 0, restart: 0, pass: 0 }, Progress { seed: 0, restart: 1, pass: 2 }] {
            let kmeans = KMeans { init: init.clone(), restarts: 2, ..KMeans::new(20) };
            let stop = |p: Progress| if p == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let broken_off = kmeans.fit_watched(x, &stop).unwrap_err();
            assert!(matches!(broken_off, Error::Core(dml_core::Error::Cancelled)), "{broken_off:?}");
        }
    }
}

/// B³ as it is defined: item by item.
fn b_cubed(classes: &[u32], clusters: &[u32]) -> (f64, f64) {
    let n = classes.len();
    let share = |of: &[u32], i: usize| {
        let same = (0..n).filter(|&j| of[j] == of[i]).count();
        let both = (0..n).filter(|&j| classes[j] == classes[i] && clusters[j] == clusters[i]).count();
        both as f64 / same as f64
    };
    let mean = |of: &[u32]| (0..n).map(|i| share(of, i)).sum::<f64>() / n as f64;
    (mean(clusters), mean(classes))
}

#[test]
fn b_cubed_by_hand() {
    // Clusters {a, a, b} and {b}.
    let found = Agreement::new(&[1, 1, 2, 2], &[5, 5, 5, 9]).unwrap();
    assert!((found.b_cubed_precision - (2.0 / 3.0 + 2.0 / 3.0 + 1.0 / 3.0 + 1.0) / 4.0).abs() < 1e-15);
    assert!((found.b_cubed_recall - (1.0 + 1.0 + 0.5 + 0.5) / 4.0).abs() < 1e-15);
    let (p, r) = (2.0 / 3.0, 0.75);
    assert!((found.b_cubed_f1 - 2.0 * p * r / (p + r)).abs() < 1e-15);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn b_cubed_is_its_definition(pairs in prop::collection::vec((0u32..6, 0u32..5), 1..60)) {
        let (classes, clusters): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let (precision, recall) = b_cubed(&classes, &clusters);
        let found = Agreement::new(&classes, &clusters).unwrap();
        prop_assert!((found.b_cubed_precision - precision).abs() < 1e-12);
        prop_assert!((found.b_cubed_recall - recall).abs() < 1e-12);
        prop_assert!(found.b_cubed_f1 <= precision.max(recall) + 1e-12);
    }
}
