//! What holds of approximate indices alone: recall, files, determinism. `cargo test -p dml-eval --features ann`.
#![cfg(feature = "ann")]

use dml_core::{Exclude, Matrix, Metric, Projection, unwatched};
use dml_eval::Error;
use dml_eval::search::{Approximate, ApproximateOptions, Index, Recall, recall_against, search};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::ControlFlow;
use std::path::Path;

const D: usize = 32;
const CLASSES: usize = 60;

/// Rows about centres in turn.
fn clustered(rows: usize, seed: u64) -> Vec<f32> {
    let mut centres = ChaCha8Rng::seed_from_u64(1);
    let centres: Vec<f32> = (0..CLASSES * D).map(|_| centres.random_range(-1.0..1.0)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..rows * D).map(|i| centres[i % (CLASSES * D)] + rng.random_range(-0.6..0.6)).collect()
}

fn matrix(values: &[f32]) -> Matrix<'_> {
    Matrix::new(values, values.len() / D, D).unwrap()
}

fn build(metric: Metric, gallery: Matrix<'_>, options: ApproximateOptions) -> Approximate {
    Approximate::build(metric, &gallery, options, &unwatched).unwrap()
}

fn recall(index: &Approximate, queries: Matrix<'_>, gallery: Matrix<'_>) -> Recall {
    let exact = search(index.metric(), &queries, &gallery, 10, Exclude::Nothing, &unwatched).unwrap();
    let found = index.search(&queries, 10, Exclude::Nothing, &unwatched).unwrap();
    // A score is that of exact search, found or not.
    for q in 0..queries.rows() {
        for (id, score) in found.ids_of(q).iter().zip(found.scores_of(q)) {
            let at = exact.ids_of(q).iter().position(|want| want == id);
            assert!(at.is_none_or(|at| exact.scores_of(q)[at].to_bits() == score.to_bits()));
        }
    }
    recall_against(&exact, &found, 10).unwrap()
}

#[test]
fn recall_of_clustered_rows() {
    let (gallery, queries) = (clustered(5000, 2), clustered(300, 3));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::SquaredEuclidean] {
        let recall = recall(&build(metric, gallery, ApproximateOptions::default()), queries, gallery);
        println!("{metric}: recall@10 {:.4}, worst {:?}", recall.mean, recall.worst);
        assert!(recall.mean >= 0.95, "{metric}: {}", recall.mean);
    }
    let (gallery, queries) = (Projection::Unit.apply(gallery).values, Projection::Unit.apply(queries).values);
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    let recall = recall(&build(Metric::Dot, gallery, ApproximateOptions::default()), queries, gallery);
    println!("dot of unit rows: recall@10 {:.4}, worst {:?}", recall.mean, recall.worst);
    assert!(recall.mean >= 0.95, "{}", recall.mean);
}

#[test]
fn more_candidates_find_more() {
    let (gallery, queries) = (clustered(5000, 4), clustered(300, 5));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    let poor = ApproximateOptions { connectivity: 4, expansion_add: 8, expansion_search: 10, ..Default::default() };
    let mut index = build(Metric::Euclidean, gallery, poor);
    let mut last = 0.0;
    for candidates in [10, 40, 160, 1250] {
        index = index.with_expansion_search(candidates).unwrap();
        let found = recall(&index, queries, gallery).mean;
        println!("{candidates} candidates: recall@10 {found:.4}");
        assert!(found > last, "{candidates} candidates find {found}, fewer {last}");
        last = found;
    }
    // All rows are scored from a quarter of them on.
    assert_eq!(recall(&index.with_expansion_search(1251).unwrap(), queries, gallery).mean, 1.0);
}

#[test]
fn a_graph_follows_from_rows_and_options() {
    let (gallery, folder) = (clustered(1500, 6), tempfile::tempdir().unwrap());
    let bytes = |threads: usize| {
        let path = folder.path().join("index");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(Metric::Cosine, matrix(&gallery), ApproximateOptions::default()).save(&path).unwrap());
        std::fs::read(path).unwrap()
    };
    assert!(bytes(1) == bytes(4));
}

#[test]
fn threads_build_what_finds_as_much() {
    let (gallery, queries) = (clustered(5000, 7), clustered(200, 8));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    let options = ApproximateOptions { threads: 3, ..Default::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let index = pool.install(|| build(Metric::Euclidean, gallery, options));
    assert_eq!(index.rows(), 5000);
    assert!(recall(&index, queries, gallery).mean >= 0.95);
}

#[test]
fn building_tells_progress_and_is_broken_off() {
    let gallery = clustered(700, 9);
    let most = std::sync::atomic::AtomicUsize::new(0);
    let watch = |count: usize| {
        most.fetch_max(count, std::sync::atomic::Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    Approximate::build(Metric::Dot, &matrix(&gallery), ApproximateOptions::default(), &watch).unwrap();
    assert_eq!(most.into_inner(), 700);
    let stop = |count: usize| if count < 20 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let stopped = Approximate::build(Metric::Dot, &matrix(&gallery), ApproximateOptions::default(), &stop);
    assert!(matches!(stopped, Err(Error::Core(dml_core::Error::Cancelled))));
}

#[test]
fn what_has_no_graph_is_refused() {
    let gallery = clustered(100, 10);
    let error = |metric, gallery: Matrix<'_>, options| {
        Approximate::build(metric, &gallery, options, &unwatched).err().unwrap().to_string()
    };
    let (x, good) = (matrix(&gallery), ApproximateOptions::default());
    for metric in [Metric::Lp(3.0), Metric::Snr, Metric::Hyperbolic(0.01)] {
        let said = error(metric, x, good);
        assert!(said.contains(&format!("metric {metric} has no approximate index")), "{said}");
    }
    let empty = error(Metric::Dot, Matrix::new(&[], 0, D).unwrap(), good);
    assert!(empty.contains("a gallery of 0 rows of length 32 has no index"), "{empty}");
    let bad = [
        (ApproximateOptions { connectivity: 1, ..good }, "connectivity of an approximate index is 1: want 2 to 512"),
        (ApproximateOptions { expansion_add: 0, ..good }, "expansion_add of an approximate index is 0"),
        (ApproximateOptions { expansion_search: 0, ..good }, "expansion_search of an approximate index is 0"),
        (ApproximateOptions { threads: 0, ..good }, "threads of an approximate index is 0"),
    ];
    for (options, want) in bad {
        let said = error(Metric::Dot, x, options);
        assert!(said.contains(want), "{said}");
    }
    assert!(build(Metric::Dot, x, good).with_expansion_search(0).is_err());
}

#[test]
fn a_saved_index_answers_as_before() {
    let (gallery, queries, folder) = (clustered(1200, 11), clustered(50, 12), tempfile::tempdir().unwrap());
    let options = ApproximateOptions { connectivity: 8, expansion_add: 40, expansion_search: 20, threads: 1 };
    let path = folder.path().join("faces.index");
    std::fs::write(&path, "what was there").unwrap();
    for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean, Metric::SquaredEuclidean] {
        let index = build(metric, matrix(&gallery), options);
        index.save(&path).unwrap();
        let opened = Approximate::open(&path, metric, D).unwrap();
        assert_eq!((opened.metric(), opened.rows(), opened.dim(), opened.options()), (metric, 1200, D, options));
        let ask = |index: &Approximate| index.search(&matrix(&queries), 5, Exclude::Nothing, &unwatched).unwrap();
        assert!(ask(&opened) == ask(&index), "{metric}");
    }
    // Nothing but the index is left behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn open_error(path: &Path, metric: Metric, dim: usize) -> String {
    Approximate::open(path, metric, dim).err().unwrap().to_string()
}

#[test]
fn another_index_and_none_are_refused() {
    let (gallery, folder) = (clustered(300, 13), tempfile::tempdir().unwrap());
    let path = folder.path().join("index");
    let index = build(Metric::Cosine, matrix(&gallery), ApproximateOptions::default());
    index.save(&path).unwrap();
    let other = "is an index by cosine over vectors of length 32, but";
    assert!(open_error(&path, Metric::Dot, D).contains(&format!("{other} dot over 32 was asked for")));
    assert!(open_error(&path, Metric::Cosine, 64).contains(&format!("{other} cosine over 64 was asked for")));
    assert!(matches!(Approximate::open(folder.path().join("none"), Metric::Cosine, D), Err(Error::Io { .. })));
    assert!(matches!(index.save(folder.path().join("no/folder")), Err(Error::Io { .. })));
}

#[test]
fn damage_is_an_error() {
    let (gallery, folder) = (clustered(40, 14), tempfile::tempdir().unwrap());
    let path = folder.path().join("index");
    build(Metric::Euclidean, matrix(&gallery), ApproximateOptions::default()).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    let refused = |bytes: &[u8], what: String| {
        std::fs::write(&damaged, bytes).unwrap();
        let result = Approximate::open(&damaged, Metric::Euclidean, D);
        assert!(matches!(result, Err(Error::File { .. })), "{what}");
    };
    let lengths = (0..whole.len()).step_by(97).chain(whole.len() - 250..whole.len());
    for length in lengths {
        refused(&whole[..length], format!("cut to {length} bytes"));
    }
    let places = (0..whole.len()).step_by(89).chain(whole.len() - 250..whole.len());
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        refused(&bytes, format!("byte {at} changed"));
    }
    refused(&[&whole[..], b"more"].concat(), "something behind it".to_owned());
    refused(b"", "an empty file".to_owned());
}
