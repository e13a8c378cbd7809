//! L2 normalisation of rows and its gradient.

use crate::Matrix;
use crate::device::cpu::dot;

/// Norms below this count as 0: the row stays 0 and gets no gradient.
const SMALLEST: f32 = 1e-12;

/// `x̂ = x/‖x‖` for each row `[n, d]`, and the norms `[n]`. Rows of zeros stay zeros.
pub fn normalize_rows(x: Matrix<'_>) -> (Vec<f32>, Vec<f32>) {
    let mut unit = x.data().to_vec();
    let norms = (0..x.rows())
        .map(|i| {
            let norm = dot(x.row(i), x.row(i)).sqrt();
            for v in &mut unit[i * x.cols()..][..x.cols()] {
                *v = if norm < SMALLEST { 0.0 } else { *v / norm };
            }
            norm
        })
        .collect();
    (unit, norms)
}

/// Turns a gradient with respect to `x̂` into one with respect to `x`, in place: `(g − (g·x̂)x̂)/‖x‖`.
pub fn normalize_gradient(unit: Matrix<'_>, norms: &[f32], gradient: &mut [f32]) {
    if unit.cols() == 0 {
        return;
    }
    for ((i, &norm), g) in norms.iter().enumerate().zip(gradient.chunks_exact_mut(unit.cols())) {
        if norm < SMALLEST {
            g.fill(0.0);
            continue;
        }
        let row = unit.row(i);
        let along = dot(g, row);
        for (g, &u) in g.iter_mut().zip(row) {
            *g = (*g - along * u) / norm;
        }
    }
}
