//! The same results by plain loops in `f64`: slow, obvious, the oracle of the tests.

use crate::{Matrix, Metric, Real};

/// Score of two vectors.
pub fn score<T: Real>(metric: Metric, a: &[T], b: &[T]) -> f64 {
    let (a, b): (Vec<f64>, Vec<f64>) = (a.iter().map(|v| v.wide()).collect(), b.iter().map(|v| v.wide()).collect());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let difference: Vec<f64> = a.iter().zip(&b).map(|(x, y)| x - y).collect();
    let variance = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
    };
    let square = dot(&difference, &difference);
    match metric {
        Metric::Dot => dot(&a, &b),
        Metric::Cosine => {
            let norms = (dot(&a, &a) * dot(&b, &b)).sqrt();
            if norms == 0.0 { 0.0 } else { dot(&a, &b) / norms }
        }
        Metric::SquaredEuclidean => square,
        Metric::Euclidean => square.sqrt(),
        Metric::Lp(p) => difference.iter().map(|d| d.abs().powf(p)).sum::<f64>().powf(1.0 / p),
        Metric::Snr if variance(&a) == 0.0 => 0.0,
        Metric::Snr => variance(&difference) / variance(&a),
        Metric::Hyperbolic(c) => {
            // Möbius addition written out: −a ⊕ b.
            let (ab, aa, bb) = (-dot(&a, &b), dot(&a, &a), dot(&b, &b));
            let denominator = 1.0 + 2.0 * c * ab + c * c * aa * bb;
            let sum: Vec<f64> = a
                .iter()
                .zip(&b)
                .map(|(x, y)| ((1.0 + 2.0 * c * ab + c * bb) * -x + (1.0 - c * aa) * y) / denominator)
                .collect();
            2.0 / c.sqrt() * (c.sqrt() * dot(&sum, &sum).sqrt()).atanh()
        }
    }
}

/// All scores, row-major `[queries, gallery]`.
pub fn scores<T: Real>(metric: Metric, queries: Matrix<'_, T>, gallery: Matrix<'_, T>) -> Vec<f64> {
    let rows = |m: Matrix<'_, T>| 0..m.rows();
    rows(queries).flat_map(|i| rows(gallery).map(move |j| score(metric, queries.row(i), gallery.row(j)))).collect()
}
