//! Multi-Similarity loss and its miner.
//!
//! `mean_i { (1/α) log[1 + Σ_P e^{−α(s−λ)}] + (1/β) log[1 + Σ_N e^{β(s−λ)}] }`, over all rows of the batch, also those
//! without a pair. Mining keeps a negative with `s_n > min_P s − ε` and a positive with `s_p < max_N s + ε`.
//! Wang et al., *Multi-Similarity Loss with General Pair Weighting*, 2019, eq. 11–14. The paper has λ = 1, β = 50, its
//! code λ = 0.5, β = 40; defaults here are those of pytorch-metric-learning.

use crate::params::{parse, positive, wrong};
use crate::row_loss::{PairObjective, RowLoss, Space};
use crate::softmax::log_sum_exp;
use crate::{Context, Result};
use dml_core::Metric;
use dml_core::rowwise::{Row, RowObjective};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of the Multi-Similarity loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSimilarityParams {
    /// Sharpness on positives. Default 2.
    pub alpha: f32,
    /// Sharpness on negatives. Default 50.
    pub beta: f32,
    /// Similarity λ that separates them. Default 0.5.
    pub base: f32,
    /// Margin ε of the miner; absent (default) uses all pairs. The paper mines with 0.1.
    pub epsilon: Option<f32>,
}

impl Default for MultiSimilarityParams {
    fn default() -> Self {
        Self { alpha: 2.0, beta: 50.0, base: 0.5, epsilon: None }
    }
}

impl MultiSimilarityParams {
    /// The columns of positives and of negatives that are used.
    fn columns(&self, row: &Row<'_>) -> (Vec<usize>, Vec<usize>) {
        let (mut positives, mut negatives): (Vec<_>, Vec<_>) = (row.positives().collect(), row.negatives().collect());
        if let Some(epsilon) = self.epsilon {
            let at = |j: &usize| row.scores[*j];
            let weakest = positives.iter().map(at).fold(f32::INFINITY, f32::min);
            let strongest = negatives.iter().map(at).fold(f32::NEG_INFINITY, f32::max);
            positives.retain(|&j| row.scores[j] < strongest + epsilon);
            negatives.retain(|&j| row.scores[j] > weakest - epsilon);
        }
        (positives, negatives)
    }
}

/// `(1/|a|) log(1 + Σ e^{a(s − λ)})` over some columns; adds `weight` times its derivative to the gradient.
fn side(row: &Row<'_>, columns: &[usize], a: f32, base: f32, weight: f32, gradient: &mut [f32]) -> f64 {
    if columns.is_empty() {
        return 0.0;
    }
    // The literal 1 is a column whose exponent is 0.
    let mut exponents: Vec<f32> = columns.iter().map(|&j| a * (row.scores[j] - base)).chain([0.0]).collect();
    let value = log_sum_exp(&mut exponents);
    for (&j, share) in columns.iter().zip(&exponents) {
        gradient[j] += weight * share * a.signum();
    }
    f64::from(weight) * value / f64::from(a.abs())
}

impl RowObjective for MultiSimilarityParams {
    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let (positives, negatives) = self.columns(row);
        side(row, &positives, -self.alpha, self.base, weight[0], gradient)
            + side(row, &negatives, self.beta, self.base, weight[0], gradient)
    }
}

pub(crate) fn build(params: &Value, _context: &Context) -> Result<Box<dyn PairObjective>> {
    const NAME: &str = "multi_similarity";
    let row: MultiSimilarityParams = parse(NAME, params)?;
    positive(NAME, "alpha", row.alpha)?;
    positive(NAME, "beta", row.beta)?;
    if !row.base.is_finite() || row.epsilon.is_some_and(|e| !e.is_finite()) {
        return Err(wrong(NAME, "base and epsilon must be finite".to_owned()));
    }
    Ok(Box::new(RowLoss { row, space: Space { metric: Metric::Cosine, normalize: true } }))
}
