//! Search, ranks and pair tiles against plain loops, whatever blocks the work is cut into.

use dml_core::{
    Error, Exclude, Matrix, Metric, NearestSearch, RankQuestion, Ties, for_each_pair_tile, nearest, nearest_watched,
    ranks, scores, unwatched,
};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::Mutex;

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1u32 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Few distinct values: many ties, and exact sums.
fn coarse(n: usize, seed: u64) -> Vec<f32> {
    values(n, seed).iter().map(|v| (v * 2.5).round()).collect()
}

const METRICS: [Metric; 4] = [Metric::Dot, Metric::SquaredEuclidean, Metric::Lp(1.0), Metric::Euclidean];

/// Closeness of all pairs.
fn table(metric: Metric, a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut out = vec![0.0; a.rows() * b.rows()];
    scores(metric, a, b, &mut out).unwrap();
    let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
    // -0 is 0.
    out.into_iter().map(|s| sign * s + 0.0).collect()
}

/// Ranking of query `q`: (closeness, id).
fn ranking(row: &[f32], q: usize, exclude: Exclude<'_>) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = row.iter().copied().zip(0..).collect();
    all.retain(|&(_, id)| !exclude.excludes(q, id));
    all.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn search_equals_a_full_sort(q in 1usize..300, g in 3usize..700, d in 1usize..5, k in 0usize..40, seed in any::<u64>()) {
        let (a, b) = (coarse(q * d, seed), coarse(g * d, seed ^ 5));
        let (a, b) = (Matrix::new(&a, q, d).unwrap(), Matrix::new(&b, g, d).unwrap());
        let ids: Vec<u32> = (0..q as u32).map(|i| if i % 3 == 0 { u32::MAX } else { i % g as u32 }).collect();
        let (of_queries, of_gallery): (Vec<u32>, Vec<u32>) = ((0..q as u32).map(|i| i % 4).collect(), (0..g as u32).map(|i| i % 7).collect());
        let odd = |q: usize, id: u32| (q + id as usize) % 2 == 1;
        let excludes = [
            Exclude::Nothing,
            Exclude::Ids(&ids),
            Exclude::Groups { queries: &of_queries, gallery: &of_gallery },
            Exclude::Where(&odd),
        ];
        for metric in METRICS {
            let table = table(metric, a, b);
            for exclude in excludes {
                let k = k.min(g - 1);
                let found = nearest(metric, a, b, k, exclude).unwrap();
                // The same gallery in two parts.
                let mut parts = NearestSearch::new(metric, a, k, exclude);
                let cut = (seed % g as u64) as usize;
                parts.add(Matrix::new(&b.data()[..cut * d], cut, d).unwrap(), &unwatched).unwrap();
                parts.add(Matrix::new(&b.data()[cut * d..], g - cut, d).unwrap(), &unwatched).unwrap();
                prop_assert_eq!(&parts.finish(), &found);
                for i in 0..q {
                    let want: Vec<u32> = ranking(&table[i * g..][..g], i, exclude).iter().take(k).map(|x| x.1).collect();
                    prop_assert_eq!(found.ids_of(i), &want[..]);
                }
            }
        }
    }

    #[test]
    fn ranks_equal_places_in_a_full_sort(n in 2usize..400, d in 1usize..4, classes in 1usize..40, seed in any::<u64>()) {
        let x = coarse(n * d, seed);
        // Other memory, the same numbers: not taken for a set against itself.
        let copy = x.clone();
        let (a, b) = (Matrix::new(&x, n, d).unwrap(), Matrix::new(&copy, n, d).unwrap());
        let class = |i: usize| (i * 31 + seed as usize % 100) % classes;
        let wanted = |q: usize, list: &mut Vec<u32>| list.extend((0..n).filter(|&j| j != q && class(j) == class(q)).map(|j| j as u32));
        let excluded = |q: usize, list: &mut Vec<u32>| {
            list.push(q as u32);
            list.extend((0..n).filter(|&j| j != q && class(j) != class(q) && (j + q).is_multiple_of(5)).map(|j| j as u32));
        };
        for metric in [Metric::Dot, Metric::SquaredEuclidean] {
            let table = table(metric, a, a);
            for ties in [Ties::ById, Ties::Optimistic, Ties::Pessimistic] {
                let question = RankQuestion { metric, queries: a, gallery: a, wanted: &wanted, excluded: &excluded, ties };
                let got = ranks(&question, &unwatched).unwrap();
                prop_assert_eq!(&ranks(&RankQuestion { gallery: b, ..question }, &unwatched).unwrap(), &got);
                for q in 0..n {
                    let (mut list, mut out) = (Vec::new(), Vec::new());
                    wanted(q, &mut list);
                    excluded(q, &mut out);
                    let mut all: Vec<(f32, u8, u32)> = (0..n as u32).filter(|j| !out.contains(j)).map(|j| {
                        let right = list.contains(&j);
                        let group = match ties { Ties::ById => 0, Ties::Optimistic => u8::from(!right), Ties::Pessimistic => u8::from(right) };
                        (table[q * n + j as usize], group, j)
                    }).collect();
                    all.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
                    let want: Vec<u32> = list.iter().map(|id| 1 + all.iter().position(|x| x.2 == *id).unwrap() as u32).collect();
                    prop_assert_eq!(got.of(q), &want[..], "{} {:?} query {}", metric, ties, q);
                }
            }
        }
    }

    #[test]
    fn pair_tiles_hold_every_pair_once(n in 0usize..800, seed in any::<u64>()) {
        let x = values(n * 3, seed);
        let x = Matrix::new(&x, n, 3).unwrap();
        let table = table(Metric::Dot, x, x);
        let seen = Mutex::new(vec![0u8; n * n]);
        for_each_pair_tile(Metric::Dot, x, &unwatched, |tile| {
            let mut seen = seen.lock().unwrap();
            for (i, row) in tile.rows.clone().zip(tile.scores.chunks_exact(tile.columns.len())) {
                for (j, s) in tile.columns.clone().zip(row).filter(|(j, _)| *j > i) {
                    assert!((s - table[i * n + j]).abs() < 1e-5);
                    seen[i * n + j] += 1;
                }
            }
        }).unwrap();
        let seen = seen.into_inner().unwrap();
        prop_assert!((0..n * n).all(|k| seen[k] == u8::from(k % n > k / n)));
    }
}

/// Scores of a pair are the same to the bit in blocks of any shape: else equal rows would not tie.
#[test]
fn equal_rows_tie_in_blocks_of_any_shape() {
    for d in [3, 64, 512, 700, 1100] {
        let one = values(d, 3);
        for n in [2, 3, 5, 17, 70, 300, 900] {
            // All rows are one of two.
            let other = values(d, 4);
            let x: Vec<f32> = (0..n).flat_map(|i| if i % 3 == 0 { &one } else { &other }).copied().collect();
            let x = Matrix::new(&x, n, d).unwrap();
            for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
                let found = nearest(metric, x, x, n - 1, Exclude::SelfIndex).unwrap();
                for q in 0..n {
                    let mut scores = found.scores_of(q).to_vec();
                    scores.dedup();
                    assert!(scores.len() <= 2, "{metric}, d = {d}, n = {n}: {scores:?}");
                    let same = (0..n as u32).filter(|&j| j as usize != q && (j % 3 == 0) == (q % 3 == 0));
                    assert!(
                        metric == Metric::Dot
                            || same.eq(found.ids_of(q).iter().copied().take_while(|j| (j % 3 == 0) == (q % 3 == 0)))
                    );
                }
            }
        }
    }
}

#[test]
fn a_set_against_itself_equals_one_against_a_copy_to_the_bit() {
    let (n, d) = (1300, 24);
    let x = values(n * d, 8);
    let copy = x.clone();
    let (x, copy) = (Matrix::new(&x, n, d).unwrap(), Matrix::new(&copy, n, d).unwrap());
    for metric in Metric::ALL {
        let run = |threads: usize, gallery: Matrix<'_>| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| nearest(metric, x, gallery, 50, Exclude::SelfIndex).unwrap())
        };
        let whole = run(1, x);
        assert!(whole == run(3, x) && whole == run(2, copy), "{metric}");
    }
}

#[test]
fn what_is_no_number_comes_last_and_work_can_be_broken_off() {
    let x = [1.0, 2.0, f32::NAN, 3.0];
    let x = Matrix::new(&x, 4, 1).unwrap();
    let query = Matrix::new(&[1.0], 1, 1).unwrap();
    let found = nearest(Metric::Dot, query, x, 4, Exclude::Nothing).unwrap();
    assert_eq!(found.ids_of(0), [3, 1, 0, 2]);
    assert!(found.scores_of(0)[3].is_nan());
    let stop = nearest_watched(Metric::Dot, x, x, 1, Exclude::SelfIndex, &|_| ControlFlow::Break(()));
    assert!(matches!(stop, Err(Error::Cancelled)));
    let seen = Mutex::new(Vec::new());
    let watch = |scored: usize| {
        seen.lock().unwrap().push(scored);
        ControlFlow::Continue(())
    };
    nearest_watched(Metric::Dot, query, x, 1, Exclude::Nothing, &watch).unwrap();
    assert_eq!(seen.into_inner().unwrap(), [4]);
    let groups = Exclude::Groups { queries: &[0], gallery: &[0, 1] };
    assert!(nearest(Metric::Dot, query, x, 1, groups).unwrap_err().to_string().contains("give one for each"));
}

/// Long lists begin at a guess of where they end.
#[test]
fn long_lists_are_exact_whether_their_guess_was_low_or_too_high() {
    let (n, d, k) = (2000, 6, 500);
    for of in [values, coarse] {
        let mut x = of(n * d, 12);
        x[700 * d..1400 * d].iter_mut().step_by(d).for_each(|v| *v *= 100.0);
        x[5 * d] = f32::NAN;
        let copy = x.clone();
        let (x, copy) = (Matrix::new(&x, n, d).unwrap(), Matrix::new(&copy, n, d).unwrap());
        // Half of the queries may only find what is far: the guess is too high. Some of them find fewer than k.
        let near = |q: usize, id: u32| q % 2 == 1 && !(700..1100 + q as u32 % 300).contains(&id);
        for (metric, exclude) in [(Metric::Dot, Exclude::SelfIndex), (Metric::Euclidean, Exclude::Where(&near))] {
            let run = |threads: usize, gallery: Matrix<'_>| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| nearest(metric, x, gallery, k, exclude).unwrap())
            };
            let found = run(1, x);
            let twice = run(3, copy);
            let table = table(metric, x, copy);
            for q in 0..n {
                let row: Vec<f32> =
                    table[q * n..][..n].iter().map(|s| if s.is_nan() { f32::NEG_INFINITY } else { *s }).collect();
                let want: Vec<u32> = ranking(&row, q, exclude).iter().take(k).map(|x| x.1).collect();
                assert_eq!(found.ids_of(q), &want[..], "{metric}, query {q}");
                assert_eq!(twice.ids_of(q), &want[..], "{metric}, query {q} of a copy");
            }
        }
    }
}
