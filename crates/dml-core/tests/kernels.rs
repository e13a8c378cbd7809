//! Kernels against plain f64 loops, finite differences, and themselves on other thread counts.

use dml_core::rowwise::{Problem, Row, RowObjective, rowwise};
use dml_core::{Exclude, Matrix, Metric, nearest, pairwise, reference, scores};
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

/// A smooth function of a row with a gradient everywhere.
struct Smooth;

impl RowObjective for Smooth {
    fn count(&self, row: &Row<'_>) -> [f64; 2] {
        [row.positives().count() as f64, row.negatives().count() as f64]
    }

    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let mut loss = 0.0;
        for j in row.positives() {
            loss += f64::from(weight[0] * row.scores[j].sin());
            gradient[j] += weight[0] * row.scores[j].cos();
        }
        for j in row.negatives() {
            loss += f64::from(weight[1] * row.scores[j] * row.scores[j]);
            gradient[j] += 2.0 * weight[1] * row.scores[j];
        }
        loss
    }
}

fn problem<'a>(metric: Metric, a: Matrix<'a>, b: Matrix<'a>, la: &'a [u32], lb: &'a [u32]) -> Problem<'a> {
    Problem { metric, anchors: a, anchor_labels: la, references: b, reference_labels: lb, self_offset: None }
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
    let (a, b) = (values(n * d, 3), values(m * d, 4));
    let (la, lb) = ([0, 1, 2, 0, 1], [0, 1, 2, 3, 0, 1, 2]);
    let value = |metric, a: &[f32], b: &[f32]| {
        let (a, b) = (Matrix::new(a, n, d).unwrap(), Matrix::new(b, m, d).unwrap());
        rowwise(&problem(metric, a, b, &la, &lb), &Smooth).unwrap()
    };
    for metric in Metric::ALL {
        let output = value(metric, &a, &b);
        for k in 0..(n + m) * d {
            let step = 1e-2;
            let at = |sign: f32| {
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
            assert!((numeric - analytic).abs() < 3e-3, "{metric} {k}: {numeric} {analytic}");
        }
    }
}

#[test]
fn duplicates_have_distance_zero_and_gradient_zero() {
    let a: Vec<f32> = values(8, 1).into_iter().cycle().take(16).collect();
    let a = Matrix::new(&a, 2, 8).unwrap();
    let mut out = [1.0; 4];
    scores(Metric::Euclidean, a, a, &mut out).unwrap();
    assert_eq!(out, [0.0; 4]);
    let output = rowwise(&problem(Metric::Euclidean, a, a, &[0, 0], &[0, 1]), &Smooth).unwrap();
    assert!(output.d_anchors.iter().all(|&g| g == 0.0));
}

#[test]
fn same_bits_on_one_and_three_threads() {
    let (n, d) = (150, 16);
    let a = values(n * d, 9);
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 10).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let a = Matrix::new(&a, n, d).unwrap();
            let output = rowwise(&problem(Metric::Cosine, a, a, &labels, &labels), &Smooth).unwrap();
            (output.value, output.d_anchors, nearest(Metric::Cosine, a, a, 5, Exclude::SelfIndex).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
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
        assert!(out.iter().zip(&composed).all(|(x, y)| (x - y).abs() < 1e-5), "{metric}");
    }
}

#[test]
fn wrong_sizes_are_errors_that_say_so() {
    let a = Matrix::new(&[1.0, 2.0], 1, 2).unwrap();
    assert!(Matrix::new(&[1.0], 1, 2).unwrap_err().to_string().contains("wants 2 values"));
    let b = Matrix::new(&[1.0], 1, 1).unwrap();
    assert!(nearest(Metric::Dot, a, b, 1, Exclude::Nothing).unwrap_err().to_string().contains("length 2"));
    assert!(nearest(Metric::Dot, a, a, 1, Exclude::SelfIndex).unwrap_err().to_string().contains("lower k"));
    let labels = rowwise(&problem(Metric::Dot, a, a, &[], &[0]), &Smooth).unwrap_err().to_string();
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
        let output = rowwise(&problem(Metric::Euclidean, a, b, &[0], &[0, 1, 2]), &Smooth).unwrap();
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
