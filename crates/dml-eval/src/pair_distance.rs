//! The distance of a single pair, in `f64`: for pairs that are too few, or too far apart, for a product of matrices.

use dml_core::{Metric, reference};

/// Distance of two vectors, smaller is closer: `1 − cos` for cosine, `−a·b` for dot product, the metric itself otherwise.
/// Of SNR, `a` is the anchor.
pub(crate) fn pair_distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let wide = a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    match metric {
        Metric::Cosine => {
            let (ab, aa, bb) = wide.fold((0.0, 0.0, 0.0), |(ab, aa, bb), (x, y)| (ab + x * y, aa + x * x, bb + y * y));
            let norms = (aa * bb).sqrt();
            if norms == 0.0 { 1.0 } else { (1.0 - ab / norms).max(0.0) }
        }
        Metric::Dot => -wide.map(|(x, y)| x * y).sum::<f64>(),
        Metric::SquaredEuclidean => wide.map(|(x, y)| (x - y) * (x - y)).sum(),
        Metric::Euclidean => wide.map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt(),
        other => reference::score(other, a, b),
    }
}
