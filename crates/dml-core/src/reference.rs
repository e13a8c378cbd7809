//! The same results by plain loops in `f64`: slow, obvious, the oracle of the tests.

use crate::{Matrix, Metric};

/// Score of two vectors.
pub fn score(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let wide = |v: &f32| f64::from(*v);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| wide(x) * wide(y)).sum::<f64>();
    let square = a.iter().zip(b).map(|(x, y)| (wide(x) - wide(y)).powi(2)).sum::<f64>();
    match metric {
        Metric::Dot => dot(a, b),
        Metric::Cosine => {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
        }
        Metric::SquaredEuclidean => square,
        Metric::Euclidean => square.sqrt(),
    }
}

/// All scores, row-major `[queries, gallery]`.
pub fn scores(metric: Metric, queries: Matrix<'_>, gallery: Matrix<'_>) -> Vec<f64> {
    let rows = |m: Matrix<'_>| 0..m.rows();
    rows(queries).flat_map(|i| rows(gallery).map(move |j| score(metric, queries.row(i), gallery.row(j)))).collect()
}
