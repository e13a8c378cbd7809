//! k-means and scores of clusters against scikit-learn; tables by hand; properties; bad input.

use dml_core::{Matrix, Metric};
use dml_eval::clustering::*;
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// Scores are all `f64`; expected mutual information comes of differences of large logarithms.
const SCORES: Tolerance = Tolerance::elementwise(1e-10, 1e-9);
/// Distances are `f32`.
const ROWS: Tolerance = Tolerance::elementwise(1e-6, 1e-5);

fn goldens(is: &str, count: usize) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/clustering.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|c| c.description["is"] == is).collect();
    assert_eq!(cases.len(), count);
    cases
}

#[track_caller]
fn assert_equal(case: &Case, name: &str, got: &[f64], tolerance: Tolerance) {
    let want = case.numbers(name).unwrap();
    if let Err(difference) = compare(got, &want, &[want.len()], tolerance) {
        panic!("{} {name}: {difference}", case.name);
    }
}

#[test]
fn scores_equal_those_of_scikit_learn() {
    for case in goldens("labelings", 16) {
        let (classes, clusters) = (case.labels("classes").unwrap(), case.labels("clusters").unwrap());
        let table = Contingency::new(&classes, &clusters).unwrap();
        let (information, pairs) = (MutualInformation::new(&table), PairCounts::new(&table));
        let averages = [
            ("arithmetic", Average::Arithmetic),
            ("geometric", Average::Geometric),
            ("min", Average::Min),
            ("max", Average::Max),
        ];
        for (name, average) in averages {
            assert_equal(&case, &format!("nmi_{name}"), &[information.normalised(average)], SCORES);
            // A difference of rounding over a difference of rounding: scikit-learn's is not defined either.
            let undefined = case.name.starts_with("singleton_") && matches!(average, Average::Min);
            if !undefined {
                assert_equal(&case, &format!("ami_{name}"), &[information.adjusted(average)], SCORES);
            }
        }
        let a = Agreement::new(&classes, &clusters).unwrap();
        let scores = [
            ("mutual_information", information.value),
            ("ari", pairs.adjusted_rand()),
            ("v_measure_half", information.v_measure(0.5)),
            ("v_measure_2", information.v_measure(2.0)),
            ("nmi_arithmetic", a.nmi),
            ("nmi_geometric", a.nmi_geometric),
            ("nmi_min", a.nmi_min),
            ("nmi_max", a.nmi_max),
            ("ami_arithmetic", a.ami),
            ("ari", a.ari),
            ("homogeneity", a.homogeneity),
            ("completeness", a.completeness),
            ("v_measure", a.v_measure),
            ("pair_precision", a.pair_precision),
            ("pair_recall", a.pair_recall),
            ("pair_f1", a.pair_f1),
            ("fowlkes_mallows", a.fowlkes_mallows),
            ("purity", a.purity),
        ];
        scores.iter().for_each(|(name, got)| assert_equal(&case, name, &[*got], SCORES));
    }
}

#[test]
fn kmeans_equals_that_of_scikit_learn() {
    for case in goldens("kmeans", 8) {
        let tensor = case.tensor("rows").unwrap();
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let x = Matrix::new(&values, tensor.dims()[0], tensor.dims()[1]).unwrap();
        let start = case.tensor("start").unwrap();
        let kmeans = KMeans {
            iterations: case.description["passes"].as_u64().unwrap() as usize,
            tolerance: case.description["tolerance"].as_f64().unwrap(),
            init: Init::Given(start.flatten_all().unwrap().to_vec1().unwrap()),
            ..KMeans::new(start.dims()[0])
        };
        let found = kmeans.fit(x).unwrap();
        assert_eq!(found.assignment, case.labels("assignment").unwrap(), "{}", case.name);
        let centroids: Vec<f64> = found.centroids.iter().map(|&v| f64::from(v)).collect();
        let want = case.numbers("centroids").unwrap();
        assert!(compare(&centroids, &want, &[want.len()], ROWS).is_ok(), "{}", case.name);
        assert_equal(&case, "inertia", &[found.inertia], ROWS);
        assert_eq!(found.iterations as u64, case.description["made"].as_u64().unwrap(), "{}", case.name);
        assert_eq!(found.converged, case.name != "kmeans_breaks_off");
    }
}

#[test]
fn pairs_and_purity_by_hand() {
    // Clusters {a, a, b} and {b}: pairs aa | ab, ab | bb apart.
    let table = Contingency::new(&[1, 1, 2, 2], &[5, 5, 5, 9]).unwrap();
    let pairs = PairCounts::new(&table);
    let want = PairCounts { true_positives: 1, false_positives: 2, false_negatives: 1, true_negatives: 2 };
    assert_eq!(pairs, want);
    assert_eq!((pairs.precision(), pairs.recall(), pairs.f1()), (1.0 / 3.0, 0.5, 0.4));
    assert_eq!(table.purity(), 0.75);
    assert_eq!(table.class_sizes(), [2, 2]);
    assert_eq!(table.cluster_sizes(), [1, 3]);
    let information = MutualInformation::new(&table);
    let (ln2, h) = (2f64.ln(), -(0.25 * 0.25f64.ln() + 0.75 * 0.75f64.ln()));
    assert!((information.class_entropy - ln2).abs() < 1e-15 && (information.cluster_entropy - h).abs() < 1e-15);
    // MI = H(U) − H(U|V), and V leaves 3 items of entropy H(1/3).
    let left = 0.75 * (3f64.ln() - 2.0 / 3.0 * ln2);
    assert!((information.value - (ln2 - left)).abs() < 1e-15);
}

#[test]
fn expectation_is_the_mean_over_all_orders() {
    let (classes, mut clusters) = ([0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2]);
    let of = |clusters: &[u32]| MutualInformation::new(&Contingency::new(&classes, clusters).unwrap());
    let expected = of(&clusters).expected;
    // Heap's algorithm: all 7! orders.
    let (mut sum, mut count, mut turns, mut i) = (of(&clusters).value, 1, [0usize; 7], 1);
    while i < 7 {
        if turns[i] < i {
            clusters.swap(if i % 2 == 0 { 0 } else { turns[i] }, i);
            sum += of(&clusters).value;
            count += 1;
            turns[i] += 1;
            i = 1;
        } else {
            turns[i] = 0;
            i += 1;
        }
    }
    assert_eq!(count, 5040);
    assert!((sum / 5040.0 - expected).abs() < 1e-12, "{} {expected}", sum / 5040.0);
}

/// `k` blobs around the corners of a cube of side 10, radius 1 at most.
fn blobs(n: usize, d: usize, k: usize) -> (Vec<f32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let labels: Vec<u32> = (0..n).map(|i| (i % k) as u32).collect();
    let mut values = Vec::new();
    for label in &labels {
        for bit in 0..d {
            let corner = if label >> bit & 1 == 1 { 10.0 } else { 0.0 };
            values.push(corner + rng.random_range(-0.3..0.3f32));
        }
    }
    (values, labels)
}

#[test]
fn separated_blobs_are_all_found() {
    let (values, labels) = blobs(1500, 10, 30);
    let x = Matrix::new(&values, 1500, 10).unwrap();
    for metric in [Metric::Euclidean, Metric::SquaredEuclidean] {
        let options = ClusterOptions { restarts: 8, ..ClusterOptions::default() };
        let found = cluster_quality(metric, x, &labels, &options).unwrap();
        assert_eq!((found.rows, found.classes, found.clusters, found.runs.len()), (1500, 30, 30, 3));
        assert_eq!(found.runs.iter().filter(|run| run.agreement.ari == 1.0).count(), 3, "{found:?}");
        assert_eq!((found.mean.nmi, found.mean.ami, found.mean.pair_f1, found.mean.purity), (1.0, 1.0, 1.0, 1.0));
        assert_eq!(found.std, Agreement::default());
        assert!(found.runs.iter().all(|run| run.converged && run.iterations < 10));
    }
}

#[test]
fn directions_are_found_whatever_their_length() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let labels: Vec<u32> = (0..400).map(|i| i % 8).collect();
    let mut values = Vec::new();
    for label in &labels {
        let length = 10f32.powf(rng.random_range(-3.0..3.0));
        values.extend((0..8).map(|c| length * (f32::from(c == *label) + rng.random_range(-0.1..0.1f32))));
    }
    let x = Matrix::new(&values, 400, 8).unwrap();
    for spherical in [false, true] {
        let options = ClusterOptions { spherical, restarts: 10, ..ClusterOptions::default() };
        let found = cluster_quality(Metric::Cosine, x, &labels, &options).unwrap();
        assert_eq!(found.mean.ari, 1.0, "{found:?}");
    }
    let found = KMeans { spherical: true, restarts: 10, ..KMeans::new(8) }.fit(x).unwrap();
    let squares: Vec<f32> = found.centroids.chunks(8).map(|c| c.iter().map(|v| v * v).sum()).collect();
    assert!(squares.iter().all(|s| (s - 1.0).abs() < 1e-6), "{squares:?}");
    let cosines: f64 = (0..400)
        .map(|i| {
            let (row, centroid) = (x.row(i), &found.centroids[8 * found.assignment[i] as usize..][..8]);
            let dot: f64 = row.iter().zip(centroid).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            dot / row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
        })
        .sum();
    assert!((found.inertia - 2.0 * (400.0 - cosines)).abs() < 1e-4, "{} {cosines}", found.inertia);
}

#[test]
fn more_clusters_than_different_rows_leave_some_empty() {
    let values: Vec<f32> = (0..12).flat_map(|i| [(i % 3) as f32 * 0.1, 7.7]).collect();
    let x = Matrix::new(&values, 12, 2).unwrap();
    for init in [Init::PlusPlus, Init::Random] {
        let found = KMeans { init, restarts: 5, tolerance: 0.0, ..KMeans::new(7) }.fit(x).unwrap();
        assert_eq!(found.inertia, 0.0);
        assert!(found.converged && found.centroids.iter().all(|v| v.is_finite()));
        assert!((0..12).all(|i| found.assignment[i] == found.assignment[i % 3]));
    }
    let found = KMeans::new(12).fit(x).unwrap();
    assert_eq!(found.inertia, 0.0);
}

#[test]
fn threads_change_nothing_and_seeds_do() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values: Vec<f32> = (0..5000 * 6).map(|_| rng.random_range(-1.0..1.0)).collect();
    let labels: Vec<u32> = (0..5000).map(|_| rng.random_range(0..40)).collect();
    let x = Matrix::new(&values, 5000, 6).unwrap();
    let on = |threads, metric, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = ClusterOptions { seeds: vec![seed, 9], iterations: 5, ..ClusterOptions::default() };
        let kmeans = KMeans { seed, iterations: 5, spherical: metric == Metric::Cosine, ..KMeans::new(50) };
        pool.install(|| (cluster_quality(metric, x, &labels, &options).unwrap(), kmeans.fit(x).unwrap()))
    };
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let found = on(1, metric, 3);
        assert_eq!(found, on(3, metric, 3));
        assert_ne!(found.1, on(1, metric, 4).1);
        let json = serde_json::to_string(&found.0).unwrap();
        assert_eq!(serde_json::from_str::<Clustering>(&json).unwrap().runs.len(), 2);
    }
}

#[test]
fn restarts_keep_the_best() {
    let (values, _) = blobs(300, 6, 40);
    let x = Matrix::new(&values, 300, 6).unwrap();
    let with = |restarts| KMeans { restarts, init: Init::Random, ..KMeans::new(40) }.fit(x).unwrap().inertia;
    assert!(with(20) < with(1));
    // k-means++ starts better than uniform rows.
    let start = |init| KMeans { init, iterations: 0, ..KMeans::new(40) }.fit(x).unwrap().inertia;
    assert!(start(Init::PlusPlus) < start(Init::Random));
}

/// Rows are drawn many at a time: n·k·d is above 2³².
#[test]
fn large_sets_are_seeded_in_rounds() {
    let (n, d, k) = (6000, 256, 3000);
    let mut values = vec![0f32; n * d];
    for (i, row) in values.chunks_mut(d).enumerate() {
        let of = i % k;
        row[of % d] = 1.0 + (of / d) as f32;
        row[(of * 7 + 1) % d] += 1e-3 * (i / k) as f32;
    }
    let x = Matrix::new(&values, n, d).unwrap();
    let start = |init| KMeans { init, iterations: 0, ..KMeans::new(k) }.fit(x).unwrap();
    let (careful, random) = (start(Init::PlusPlus), start(Init::Random));
    assert!(careful.inertia < 0.1 * random.inertia, "{} {}", careful.inertia, random.inertia);
    let mut used = careful.assignment;
    used.sort_unstable();
    used.dedup();
    assert!(used.len() > k - k / 20, "{}", used.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn names_change_nothing(pairs in prop::collection::vec((0u32..6, 0u32..5), 1..80), seed in 0u32..1000) {
        let (classes, clusters): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let rename = |ids: &[u32], by: u32| ids.iter().map(|&id| (id + 1).wrapping_mul(2 * by + 3)).collect::<Vec<u32>>();
        let found = Agreement::new(&classes, &clusters).unwrap();
        let renamed = Agreement::new(&rename(&classes, seed), &rename(&clusters, 7 * seed + 1)).unwrap();
        prop_assert_eq!(found, renamed);
        let swapped = Agreement::new(&clusters, &classes).unwrap();
        prop_assert!((found.nmi - swapped.nmi).abs() < 1e-12 && (found.ami - swapped.ami).abs() < 1e-9);
        prop_assert!((found.homogeneity - swapped.completeness).abs() < 1e-12);
        prop_assert_eq!(found.pair_precision, swapped.pair_recall);
        for score in [found.nmi, found.homogeneity, found.pair_f1, found.purity, found.fowlkes_mallows] {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&score));
        }
        prop_assert!((found.nmi - found.v_measure).abs() < 1e-12);
    }

    #[test]
    fn passes_never_raise_inertia(values in prop::collection::vec(-5f32..5.0, 40..90), k in 1usize..12, seed in 0u64..99) {
        let n = values.len() / 2;
        let x = Matrix::new(&values[..2 * n], n, 2).unwrap();
        let after = |iterations| KMeans { iterations, seed, tolerance: 0.0, ..KMeans::new(k) }.fit(x).unwrap();
        let runs: Vec<KMeansResult> = [0, 1, 2, 5, 50].into_iter().map(after).collect();
        for pair in runs.windows(2) {
            prop_assert!(pair[1].inertia <= pair[0].inertia * (1.0 + 1e-5) + 1e-9);
        }
        let last = &runs[4];
        for i in 0..n {
            let to = |c: usize| (0..2).map(|a| f64::from(x.row(i)[a] - last.centroids[2 * c + a]).powi(2)).sum::<f64>();
            let own = to(last.assignment[i] as usize);
            prop_assert!((0..k).all(|c| own <= to(c) + 1e-4));
        }
    }
}

fn refusal<T: std::fmt::Debug>(result: dml_eval::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn bad_input_is_refused() {
    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let x = Matrix::new(&values, 3, 2).unwrap();
    let fit = |kmeans: KMeans| refusal(kmeans.fit(x));
    assert_eq!(fit(KMeans::new(4)), "k-means of 3 rows into 4 clusters: want 1 to 3 clusters");
    assert_eq!(fit(KMeans::new(0)), "k-means of 3 rows into 0 clusters: want 1 to 3 clusters");
    assert!(fit(KMeans { restarts: 0, ..KMeans::new(2) }).contains("0 restarts"));
    for tolerance in [f64::NAN, -1.0] {
        assert!(fit(KMeans { tolerance, ..KMeans::new(2) }).contains("want 0 or more"));
    }
    let given = |centroids: &[f32]| KMeans { init: Init::Given(centroids.to_vec()), ..KMeans::new(2) };
    assert!(fit(given(&[1.0, 2.0])).contains("want 2 centroids of 2 numbers, 4 in all"));
    assert!(fit(given(&[1.0, 2.0, f32::NAN, 0.0])).contains("not finite"));
    assert!(fit(KMeans { spherical: true, ..given(&[1.0, 2.0, 0.0, 0.0]) }).contains("all zeros"));
    assert!(fit(given(&[1.0, 2.0, 3e38, 0.0])).contains("scale the embeddings"));
    let huge = [3e38, -3e38];
    assert!(refusal(KMeans::new(1).fit(Matrix::new(&huge, 2, 1).unwrap())).contains("scale the embeddings"));
    let holed = [0.0, f32::NAN];
    assert!(refusal(KMeans::new(1).fit(Matrix::new(&holed, 2, 1).unwrap())).contains("embedding 1"));
    assert!(refusal(KMeans::new(1).fit(Matrix::new(&[], 0, 2).unwrap())).contains("0 rows"));
    assert!(refusal(KMeans::new(1).fit(Matrix::new(&[], 2, 0).unwrap())).contains("no columns"));
    let zero = [0.0, 0.0, 1.0, 1.0];
    let spherical = KMeans { spherical: true, ..KMeans::new(1) };
    assert!(refusal(spherical.fit(Matrix::new(&zero, 2, 2).unwrap())).contains("no direction"));

    let quality = |metric, labels: &[u32], options| refusal(cluster_quality(metric, x, labels, &options));
    let options = ClusterOptions::default;
    assert!(quality(Metric::Euclidean, &[1, 2], options()).contains("one label per row"));
    assert!(quality(Metric::Snr, &[1, 2, 2], options()).contains("no centroids for metric snr"));
    let seeds = |seeds: &[u64]| ClusterOptions { seeds: seeds.to_vec(), ..options() };
    assert!(quality(Metric::Euclidean, &[1, 2, 2], seeds(&[])).contains("no seeds"));
    assert!(quality(Metric::Euclidean, &[1, 2, 2], seeds(&[4, 4])).contains("seed 4"));
    let many = ClusterOptions { clusters: Some(9), ..options() };
    assert!(quality(Metric::Euclidean, &[1, 2, 2], many).contains("9 clusters"));
    let spherical = ClusterOptions { spherical: true, ..options() };
    assert!(quality(Metric::Euclidean, &[1, 2, 2], spherical).contains("use cosine"));

    assert!(refusal(Contingency::new(&[1], &[1, 2])).contains("1 items have a class but 2 have a cluster"));
    assert!(refusal(Agreement::new(&[], &[])).contains("empty"));
}
