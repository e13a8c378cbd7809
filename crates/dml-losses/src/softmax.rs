//! Cross-entropy of a row, the middle of all softmax-like losses.

use dml_core::rowwise::{Row, RowObjective};

/// `log Σ exp(x)`, and the softmax in place of `x`.
pub(crate) fn log_sum_exp(values: &mut [f32]) -> f64 {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0f64;
    for v in values.iter_mut() {
        *v = (*v - largest).exp();
        sum += f64::from(*v);
    }
    for v in values.iter_mut() {
        *v = (f64::from(*v) / sum) as f32;
    }
    f64::from(largest) + sum.ln()
}

/// `−log softmax(scale · score)` at the column of the anchor's label. Mean over rows.
pub(crate) struct CrossEntropy {
    /// Factor on the scores; negative for distances.
    pub(crate) scale: f32,
}

impl RowObjective for CrossEntropy {
    fn count(&self, row: &Row<'_>) -> [f64; 2] {
        [f64::from(u8::from(row.positives().next().is_some())), 0.0]
    }

    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let Some(target) = row.positives().next() else { return 0.0 };
        for (g, s) in gradient.iter_mut().zip(row.scores) {
            *g = self.scale * s;
        }
        let at_target = f64::from(gradient[target]);
        let loss = log_sum_exp(gradient) - at_target;
        gradient[target] -= 1.0;
        gradient.iter_mut().for_each(|g| *g *= self.scale * weight[0]);
        f64::from(weight[0]) * loss
    }
}
