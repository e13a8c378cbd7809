//! Kernels against plain f64 loops, finite differences, and themselves on other thread counts.

use dml_core::relevance::{Labels, Relevance};
use dml_core::rowwise::{Memory, Problem, RowObjective, rowwise};
use dml_core::{
    Exclude, Matrix, Metric, Projection, Real, Reduction, Row, Terms, nearest, pairwise, reference, scores,
};
use proptest::prelude::*;

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A smooth function of a row with a gradient everywhere, in two groups.
struct Smooth;

impl<T: Real> RowObjective<T> for Smooth {
    fn groups(&self) -> usize {
        2
    }

    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        for j in row.positives() {
            gradient[j] += terms.add(0, row.scores[j].sin()) * row.scores[j].cos();
        }
        for j in row.negatives() {
            gradient[j] += terms.add(1, row.scores[j] * row.scores[j]) * T::of(2.0) * row.scores[j];
        }
    }
}

fn problem<'a, T: Real>(
    metric: Metric,
    a: Matrix<'a, T>,
    b: Option<Matrix<'a, T>>,
    relevance: &'a dyn Relevance,
) -> Problem<'a, T> {
    Problem {
        metric,
        anchors: a,
        references: b,
        reference_gradient: true,
        relevance,
        reduction: &Reduction::Mean,
        weights: &[],
        memory: Memory::Auto,
    }
}

/// In double precision.
fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn scores_equal_the_reference(q in 1usize..80, g in 1usize..70, d in 1usize..20, seed in any::<u64>()) {
        let (a, b) = (values(q * d, seed), values(g * d, seed ^ 77));
        let (a, b) = (Matrix::new(&a, q, d).unwrap(), Matrix::new(&b, g, d).unwrap());
        for metric in Metric::ALL {
            let mut out = vec![0.0; q * g];
            scores(metric, a, b, &mut out).unwrap();
            for (x, y) in out.iter().zip(reference::scores(metric, a, b)) {
                prop_assert!((f64::from(*x) - y).abs() < 2e-5 * (1.0 + y.abs()), "{metric}: {x} {y}");
            }
        }
    }

    #[test]
    fn nearest_equals_a_full_sort(q in 1usize..70, g in 3usize..90, seed in any::<u64>()) {
        // Few distinct values: many ties, which go to the smaller id.
        let coarse = |n, s| values(n, s).iter().map(|v| (v * 2.0).round()).collect::<Vec<f32>>();
        let (a, b) = (coarse(q * 2, seed), coarse(g * 2, seed ^ 5));
        let (a, b) = (Matrix::new(&a, q, 2).unwrap(), Matrix::new(&b, g, 2).unwrap());
        for metric in [Metric::Dot, Metric::SquaredEuclidean] {
            let found = nearest(metric, a, b, 3, Exclude::Nothing).unwrap();
            for i in 0..q {
                let mut all: Vec<(f64, u32)> = (0..g).map(|j| (reference::score(metric, a.row(i), b.row(j)), j as u32)).collect();
                let sign = if metric.is_similarity() { -1.0 } else { 1.0 };
                all.sort_by(|x, y| (sign * x.0).partial_cmp(&(sign * y.0)).unwrap().then(x.1.cmp(&y.1)));
                let want: Vec<u32> = all.iter().take(3).map(|x| x.1).collect();
                prop_assert_eq!(found.ids_of(i), &want[..]);
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let (n, m, d) = (5, 7, 3);
    let (a, b) = (wide(&values(n * d, 3)), wide(&values(m * d, 4)));
    let labels = Labels::new(&[0, 1, 2, 0, 1], &[0, 1, 2, 3, 0, 1, 2], None);
    let value = |metric, a: &[f64], b: &[f64]| {
        let (a, b) = (Matrix::new(a, n, d).unwrap(), Matrix::new(b, m, d).unwrap());
        rowwise(&problem(metric, a, Some(b), &labels), &Smooth).unwrap()
    };
    for metric in Metric::ALL {
        let output = value(metric, &a, &b);
        for k in 0..(n + m) * d {
            let step = 1e-6;
            let at = |sign: f64| {
                let (mut a, mut b) = (a.clone(), b.clone());
                if k < n * d {
                    a[k] += sign * step
                } else {
                    b[k - n * d] += sign * step
                }
                value(metric, &a, &b).value
            };
            let numeric = (at(1.0) - at(-1.0)) / (2.0 * step);
            let analytic = if k < n * d { output.d_anchors[k] } else { output.d_references[k - n * d] };
            assert!((numeric - analytic).abs() < 1e-7, "{metric} {k}: {numeric} {analytic}");
        }
    }
}

#[test]
fn a_batch_against_itself_has_the_gradient_of_both_sides() {
    // Above a tile, and not a multiple of it.
    let (n, d) = (150, 5);
    let x = wide(&values(n * d, 8));
    let labels: Vec<u64> = (0..n as u64).map(|i| i * i % 11).collect();
    let x = Matrix::new(&x, n, d).unwrap();
    let relevance = Labels::within(&labels);
    for metric in Metric::ALL {
        let both = rowwise(&problem(metric, x, Some(x), &relevance), &Smooth).unwrap();
        for memory in [Memory::Whole, Memory::Rows(1), Memory::Rows(64), Memory::Rows(149)] {
            let one = rowwise(&Problem { memory, ..problem(metric, x, None, &relevance) }, &Smooth).unwrap();
            assert!((one.value - both.value).abs() < 1e-12 * both.value.abs(), "{metric} {memory:?}");
            assert!(one.d_references.is_empty());
            let largest = one.d_anchors.iter().fold(0.0, |a: f64, g| a.max(g.abs()));
            for ((got, a), b) in one.d_anchors.iter().zip(&both.d_anchors).zip(&both.d_references) {
                assert!((got - (a + b)).abs() < 1e-10 * largest, "{metric} {memory:?}: {got} {}", a + b);
            }
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * (1.0 + a.abs());
            assert_eq!(one.statistics.terms, both.statistics.terms);
            assert!(near(one.statistics.mean_positive, both.statistics.mean_positive));
            assert!(near(one.statistics.mean_negative, both.statistics.mean_negative));
        }
    }
}

#[test]
fn reductions_are_what_they_say() {
    let (n, d) = (9, 4);
    let x = wide(&values(n * d, 21));
    let labels: Vec<u64> = (0..n as u64).map(|i| i % 4).collect();
    let x = Matrix::new(&x, n, d).unwrap();
    let relevance = Labels::within(&labels);
    // The terms by plain loops: (group, anchor, value).
    let score = |i: usize, j: usize| reference::score(Metric::Dot, x.row(i), x.row(j));
    let mut terms: Vec<(usize, usize, f64)> = Vec::new();
    for i in 0..n {
        for j in (0..n).filter(|&j| j != i) {
            let group = usize::from(labels[i] != labels[j]);
            terms.push((group, i, if group == 0 { score(i, j).sin() } else { score(i, j).powi(2) }));
        }
    }
    let of = |group: usize, keep: &dyn Fn(f64) -> bool, weight: &dyn Fn(usize) -> f64| -> (f64, f64) {
        let kept = terms.iter().filter(|t| t.0 == group && keep(t.2 * weight(t.1)));
        kept.fold((0.0, 0.0), |(sum, count), t| (sum + t.2 * weight(t.1), count + 1.0))
    };
    let mean = |keep: &dyn Fn(f64) -> bool, weight: &dyn Fn(usize) -> f64| {
        [0, 1]
            .iter()
            .map(|&g| of(g, keep, weight))
            .map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 })
            .sum()
    };
    let all = |_: f64| true;
    let one = |_: usize| 1.0;
    let sum: f64 = of(0, &all, &one).0 + of(1, &all, &one).0;
    let per_anchor = |group: usize| -> f64 {
        let of_anchor = |i: usize| {
            let own: Vec<f64> = terms.iter().filter(|t| t.0 == group && t.1 == i).map(|t| t.2).collect();
            if own.is_empty() { 0.0 } else { own.iter().sum::<f64>() / own.len() as f64 }
        };
        (0..n).map(of_anchor).sum::<f64>() / n as f64
    };
    let weights = vec![0.5, 2.0, 0.0, 1.0];
    let of_class = |i: usize| weights[labels[i] as usize];
    let cases: Vec<(Reduction, f64)> = vec![
        (Reduction::Mean, mean(&all, &one)),
        (Reduction::Sum, sum),
        (Reduction::Divisor(4.0), sum / 4.0),
        (Reduction::MeanNonZero, mean(&|v| v > 0.0, &one)),
        (Reduction::Threshold { low: 0.1, high: 0.5 }, mean(&|v| v > 0.1 && v < 0.5, &one)),
        (Reduction::ClassWeighted(weights.clone()), mean(&all, &of_class)),
        (Reduction::PerAnchor, per_anchor(0) + per_anchor(1)),
    ];
    for (reduction, want) in cases {
        let problem = Problem { reduction: &reduction, ..problem(Metric::Dot, x, None, &relevance) };
        let output = rowwise(&problem, &Smooth).unwrap();
        assert!((output.value - want).abs() < 1e-12, "{reduction:?}: {} for {want}", output.value);
    }
}

#[test]
fn projections_equal_their_composed_twins_and_differences() {
    let (n, d) = (6, 4);
    let mut x = wide(&values(n * d, 30));
    x[4..8].fill(0.0);
    x[8..12].iter_mut().for_each(|v| *v *= 10.0);
    let device = candle_core::Device::Cpu;
    for projection in [Projection::None, Projection::Unit, Projection::Ball { curvature: 0.5, clip: 2.3 }] {
        let projected = projection.apply(Matrix::new(&x, n, d).unwrap());
        let weights = wide(&values(n * d, 31));
        let mut gradient = weights.clone();
        projected.pull_back(&mut gradient);
        let var = candle_core::Var::from_slice(&x, (n, d), &device).unwrap();
        let image = projection.compose(&var).unwrap();
        let weights = candle_core::Tensor::from_slice(&weights, (n, d), &device).unwrap();
        let loss = (&image * weights).unwrap().sum_all().unwrap();
        let composed: Vec<f64> = loss.backward().unwrap().get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let image: Vec<f64> = image.flatten_all().unwrap().to_vec1().unwrap();
        assert!(image.iter().zip(&projected.values).all(|(a, b)| (a - b).abs() < 1e-12), "{projection:?}");
        assert!(composed.iter().zip(&gradient).all(|(a, b)| (a - b).abs() < 1e-12), "{projection:?}");
    }
}

#[test]
fn duplicates_have_distance_zero_and_gradient_zero() {
    let a: Vec<f32> = values(8, 1).into_iter().cycle().take(16).collect();
    let a = Matrix::new(&a, 2, 8).unwrap();
    let mut out = [1.0; 4];
    scores(Metric::Euclidean, a, a, &mut out).unwrap();
    assert_eq!(out, [0.0; 4]);
    let labels = Labels::new(&[0, 0], &[0, 1], None);
    for metric in [Metric::Euclidean, Metric::Hyperbolic(0.01), Metric::Lp(2.0)] {
        let output = rowwise(&problem(metric, a, Some(a), &labels), &Smooth).unwrap();
        assert!(output.d_anchors.iter().all(|&g| g == 0.0), "{metric}");
    }
}

#[test]
fn same_bits_on_one_and_three_threads() {
    let (n, d) = (150, 16);
    let a = values(n * d, 9);
    let labels: Vec<u64> = (0..n as u64).map(|i| i % 10).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let a = Matrix::new(&a, n, d).unwrap();
            let relevance = Labels::within(&labels);
            let mut results = Vec::new();
            for metric in Metric::ALL {
                for memory in [Memory::Whole, Memory::Rows(40)] {
                    let problem = Problem { memory, ..problem(metric, a, None, &relevance) };
                    let output = rowwise(&problem, &Smooth).unwrap();
                    results.push((output.value.to_bits(), output.d_anchors));
                }
            }
            (results, nearest(Metric::Cosine, a, a, 5, Exclude::SelfIndex).unwrap())
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn composed_scores_equal_the_kernels() {
    let device = candle_core::Device::Cpu;
    let (a, b) = (values(12, 1), values(20, 2));
    let (ta, tb) = (
        candle_core::Tensor::from_slice(&a, (3, 4), &device).unwrap(),
        candle_core::Tensor::from_slice(&b, (5, 4), &device).unwrap(),
    );
    for metric in Metric::ALL {
        let mut out = vec![0.0; 15];
        scores(metric, Matrix::new(&a, 3, 4).unwrap(), Matrix::new(&b, 5, 4).unwrap(), &mut out).unwrap();
        let composed: Vec<f32> = pairwise(metric, &ta, &tb).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(out.iter().zip(&composed).all(|(x, y)| (x - y).abs() < 1e-4), "{metric}: {out:?} {composed:?}");
    }
}

#[test]
fn wrong_sizes_are_errors_that_say_so() {
    let a = Matrix::new(&[1.0, 2.0], 1, 2).unwrap();
    assert!(Matrix::new(&[1.0], 1, 2).unwrap_err().to_string().contains("wants 2 values"));
    let b = Matrix::new(&[1.0], 1, 1).unwrap();
    assert!(nearest(Metric::Dot, a, b, 1, Exclude::Nothing).unwrap_err().to_string().contains("length 2"));
    assert!(nearest(Metric::Dot, a, a, 1, Exclude::SelfIndex).unwrap_err().to_string().contains("lower k"));
    let labels = Labels::new(&[], &[0], None);
    let labels = rowwise(&problem(Metric::Dot, a, Some(a), &labels), &Smooth).unwrap_err().to_string();
    assert!(labels.contains("pass one label per row"), "{labels}");
    assert!("cosin".parse::<Metric>().unwrap_err().to_string().contains("squared_euclidean"));
}

#[test]
fn the_gradient_of_near_duplicates_keeps_its_digits() {
    let d = 32;
    let anchor = values(d, 3);
    for distance in [1e-2f32, 1e-4, 1e-6, 1e-7] {
        // A positive that is nearly the anchor, and two negatives whose gradients are large beside it.
        let near: Vec<f32> = anchor.iter().zip(values(d, 4)).map(|(a, step)| a + distance * step).collect();
        let references = [near, values(d, 5), values(d, 6)].concat();
        let (a, b) = (Matrix::new(&anchor, 1, d).unwrap(), Matrix::new(&references, 3, d).unwrap());
        let labels = Labels::new(&[0], &[0, 1, 2], None);
        let output = rowwise(&problem(Metric::Euclidean, a, Some(b), &labels), &Smooth).unwrap();
        let mut want = vec![0f64; d];
        for (j, label) in [0, 1, 2].into_iter().enumerate() {
            let score = reference::score(Metric::Euclidean, a.row(0), b.row(j));
            let slope = if label == 0 { score.cos() } else { 2.0 * score / 2.0 };
            for (k, want) in want.iter_mut().enumerate() {
                *want += slope * (f64::from(a.row(0)[k]) - f64::from(b.row(j)[k])) / score;
            }
        }
        for (got, want) in output.d_anchors.iter().zip(&want) {
            assert!((f64::from(*got) - want).abs() < 1e-4, "at distance {distance}: {got} instead of {want}");
        }
    }
}
