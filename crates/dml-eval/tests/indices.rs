//! What holds of every index: the same answers, exclusions, errors and progress. Approximate ones are in with
//! `cargo test -p dml-eval --features ann`.

use dml_core::{Exclude, Matrix, Metric, Nearest, nearest, unwatched};
use dml_eval::Error;
#[cfg(feature = "ann")]
use dml_eval::search::{Approximate, ApproximateOptions};
use dml_eval::search::{Exact, Index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

const METRICS: [Metric; 4] = [Metric::Cosine, Metric::Dot, Metric::Euclidean, Metric::SquaredEuclidean];
const N: usize = 600;
const D: usize = 12;

/// Rows without ties.
fn values(rows: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..rows * D).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn matrix(values: &[f32]) -> Matrix<'_> {
    Matrix::new(values, values.len() / D, D).unwrap()
}

/// One of each kind, asked for as many candidates as a walk may have.
fn indices<'a>(metric: Metric, gallery: &'a Matrix<'a>) -> Vec<(&'static str, Box<dyn Index + 'a>)> {
    #[allow(unused_mut, reason = "without the feature there is one")]
    let mut all: Vec<(&'static str, Box<dyn Index + 'a>)> = vec![("exact", Box::new(Exact::new(metric, gallery)))];
    #[cfg(feature = "ann")]
    {
        let options = ApproximateOptions { expansion_search: gallery.rows() / 4, ..Default::default() };
        let index = Approximate::build(metric, gallery, options, &unwatched).unwrap();
        all.push(("approximate", Box::new(index)));
    }
    all
}

#[test]
fn answers_are_those_of_all_scores() {
    let (gallery, queries) = (values(N, 1), values(40, 2));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    let ids: Vec<u32> = (0..40).map(|q| if q % 3 == 0 { u32::MAX } else { 7 * q }).collect();
    let groups = |n: usize| -> Vec<u32> { (0..n as u32).map(|i| i * 7 % 4).collect() };
    let (of_queries, of_gallery) = (groups(40), groups(N));
    // Far more than a walk finds at first, and fewer than k are left.
    let most = |q: usize, id: u32| !(id as usize + q).is_multiple_of(150);
    let exclusions = [
        Exclude::Nothing,
        Exclude::Ids(&ids),
        Exclude::Groups { queries: &of_queries, gallery: &of_gallery },
        Exclude::Where(&most),
    ];
    for metric in METRICS {
        for (name, index) in indices(metric, &gallery) {
            assert_eq!((index.metric(), index.rows(), index.dim()), (metric, N, D));
            for exclude in exclusions {
                for k in [1, 10] {
                    let want = nearest(metric, queries, gallery, k, exclude).unwrap();
                    let found = index.search(&queries, k, exclude, &unwatched).unwrap();
                    assert!(found == want, "{name}, {metric}, {exclude:?}, k = {k}");
                }
            }
            let want = nearest(metric, gallery, gallery, 5, Exclude::SelfIndex).unwrap();
            let found = index.search(&gallery, 5, Exclude::SelfIndex, &unwatched).unwrap();
            assert!(found == want, "{name}, {metric}, each row among the others");
            // As many as there are.
            let want = nearest(metric, queries, gallery, N, Exclude::Nothing).unwrap();
            assert!(index.search(&queries, N, Exclude::Nothing, &unwatched).unwrap() == want, "{name}, {metric}, all");
        }
    }
}

#[test]
fn equal_scores_go_by_the_smaller_row() {
    let ten = values(10, 3);
    let gallery = ten.repeat(3);
    let (gallery, queries) = (matrix(&gallery), matrix(&ten));
    for (name, index) in indices(Metric::Euclidean, &gallery) {
        let found = index.search(&queries, 3, Exclude::Nothing, &unwatched).unwrap();
        for q in 0..10 {
            assert_eq!(found.ids_of(q), [q as u32, q as u32 + 10, q as u32 + 20], "{name}");
        }
    }
}

#[test]
fn any_number_of_threads_and_any_company_gives_the_same() {
    let (gallery, queries) = (values(N, 4), values(30, 5));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    for (name, index) in indices(Metric::Cosine, &gallery) {
        let search = |queries: &Matrix<'_>| index.search(queries, 4, Exclude::Nothing, &unwatched).unwrap();
        let want = search(&queries);
        for threads in [1, 2, 9] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| search(&queries)) == want, "{name} on {threads} threads");
        }
        for q in 0..queries.rows() {
            let alone = search(&matrix(queries.row(q)));
            assert_eq!((alone.ids_of(0), alone.scores_of(0)), (want.ids_of(q), want.scores_of(q)), "{name}, query {q}");
        }
    }
}

#[test]
fn progress_is_told_and_the_search_broken_off() {
    let (gallery, queries) = (values(N, 6), values(20, 7));
    let (gallery, queries) = (matrix(&gallery), matrix(&queries));
    for (name, index) in indices(Metric::Euclidean, &gallery) {
        let most = AtomicUsize::new(0);
        let watch = |count: usize| {
            most.fetch_max(count, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        index.search(&queries, 3, Exclude::Nothing, &watch).unwrap();
        assert_eq!(most.into_inner(), 20 * N, "{name}");
        let stopped = index.search(&queries, 3, Exclude::Nothing, &|_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Core(dml_core::Error::Cancelled))), "{name}");
    }
}

#[test]
fn bad_requests_are_refused_in_the_same_words() {
    let (gallery, good) = (values(N, 8), values(2, 9));
    let mut broken = good.clone();
    broken[D + 3] = f32::NAN;
    let (gallery, good, broken) = (matrix(&gallery), matrix(&good), matrix(&broken));
    let short = Matrix::new(&gallery.data()[..D - 1], 1, D - 1).unwrap();
    let (self_, none) = (Exclude::SelfIndex, Exclude::Nothing);
    let groups = Exclude::Groups { queries: &[0, 1], gallery: &[0, 1] };
    let requests = [
        (short, 1, none, "queries have length 11 but the gallery 12"),
        (good, 0, none, "k = 0 neighbours were asked for but the gallery has 600 to give: want 1 to 600"),
        (good, N + 1, none, "k = 601 neighbours were asked for but the gallery has 600 to give: want 1 to 600"),
        (good, N, self_, "k = 600 neighbours were asked for but the gallery has 599 to give: want 1 to 599"),
        (good, 1, Exclude::Ids(&[0]), "1 exclusions for 2 queries: give one per query"),
        (good, 1, groups, "groups of 2 queries and 2 gallery rows, but there are 2 and 600: give one for each"),
        (broken, 1, none, "query 1 holds a value that is not finite: check the model"),
    ];
    for (name, index) in indices(Metric::Dot, &gallery) {
        for (queries, k, exclude, want) in requests {
            let error = index.search(&queries, k, exclude, &unwatched).unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error} instead of {want}");
        }
        let nobody = index.search(&Matrix::new(&[], 0, D).unwrap(), 1, none, &unwatched).unwrap();
        assert!(nobody == Nearest::from_lists(Vec::<Vec<(u32, f32)>>::new()), "{name}");
    }
}

#[test]
fn a_gallery_that_is_not_finite_is_refused() {
    let mut gallery = values(N, 10);
    gallery[5 * D + 1] = f32::INFINITY;
    let (gallery, want) = (matrix(&gallery), "gallery row 5 holds a value that is not finite: check the model");
    let query = matrix(&gallery.data()[..D]);
    let exact = Exact::new(Metric::Cosine, &gallery).search(&query, 1, Exclude::Nothing, &unwatched);
    assert_eq!(exact.unwrap_err().to_string(), want);
    #[cfg(feature = "ann")]
    {
        let built = Approximate::build(Metric::Cosine, &gallery, ApproximateOptions::default(), &unwatched);
        assert_eq!(built.err().unwrap().to_string(), want);
    }
}
