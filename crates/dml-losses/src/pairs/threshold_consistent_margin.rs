//! Threshold-consistent margin loss.
//!
//! `λ⁺ · mean {m⁺ − s : positive pairs with s ≤ m⁺}  +  λ⁻ · mean {s − m⁻ : negative pairs with s ≥ m⁻}`, s the cosine: one
//! threshold shall part the pairs of all classes. Zhang et al., *Threshold-Consistent Margin Loss for Open-World Deep
//! Metric Learning*, 2024, eq. 4; the paper adds it to another loss. As pytorch-metric-learning, which however
//! overlooks references.

use crate::composed::{ComposedTerms, Masks};
use crate::params::{LossParams, finite, not_negative};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the threshold-consistent margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdConsistentMarginParams {
    /// Weight λ⁺ of positives. Default 1.
    pub lambda_plus: f64,
    /// Weight λ⁻ of negatives. Default 1.
    pub lambda_minus: f64,
    /// Positives of a larger cosine are left out. Default 0.9.
    pub margin_plus: f64,
    /// Negatives of a smaller cosine are left out. Default 0.5.
    pub margin_minus: f64,
}

impl Default for ThresholdConsistentMarginParams {
    fn default() -> Self {
        Self { lambda_plus: 1.0, lambda_minus: 1.0, margin_plus: 0.9, margin_minus: 0.5 }
    }
}

impl<T: Real> RowObjective<T> for ThresholdConsistentMarginParams {
    fn groups(&self) -> usize {
        2
    }

    #[inline(always)]
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number is on the side where it shows")]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        // A pair at the threshold counts; what is not a number does too, and shows.
        let counts = |violation: T| !(violation < T::zero());
        let (margin, weight) = (T::of(self.margin_minus), T::of(self.lambda_minus));
        if terms.selects() {
            for j in row.negatives().filter(|&j| counts(row.scores[j] - margin)) {
                gradient[j] += weight * terms.add(1, weight * (row.scores[j] - margin));
            }
        } else {
            let term = |score: T| {
                let violation = score - margin;
                let left_out = violation < T::zero();
                (if left_out { T::zero() } else { violation }, if left_out { T::zero() } else { T::one() })
            };
            let (mut sum, mut count, mut at_threshold) = (0.0, 0.0, 0.0);
            for range in row.negative_ranges() {
                let scores = &row.scores[range.clone()];
                let swept = vector::sweep(scores, &mut gradient[range], term);
                (sum, count) = (sum + swept.0, count + swept.1);
                at_threshold += vector::sum_of(scores, |s| if s == margin { T::one() } else { T::zero() });
            }
            let step = weight * terms.add_many::<T>(1, (count - at_threshold) as usize, sum * self.lambda_minus);
            terms.add_zeros(1, at_threshold as usize);
            vector::scale(gradient, step);
        }
        let (margin, weight) = (T::of(self.margin_plus), T::of(self.lambda_plus));
        for j in row.positives().filter(|&j| counts(margin - row.scores[j])) {
            gradient[j] -= weight * terms.add(0, weight * (margin - row.scores[j]));
        }
    }
}

impl RowForm for ThresholdConsistentMarginParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let side = |violation: Tensor, weight: f64, mask: &Tensor| -> Result<ComposedTerms> {
            let counts = violation.lt(0.0)?.where_cond(&mask.zeros_like()?, mask)?;
            // As a tensor: a factor of 0 cuts candle's graph.
            let weight = Tensor::new(weight, violation.device())?.to_dtype(violation.dtype())?;
            Ok(ComposedTerms::new(violation.broadcast_mul(&weight)?, counts))
        };
        Ok(vec![
            side((self.margin_plus - scores)?, self.lambda_plus, &masks.positive)?,
            side((scores - self.margin_minus)?, self.lambda_minus, &masks.negative)?,
        ])
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl LossParams for ThresholdConsistentMarginParams {
    const NAME: &'static str = "threshold_consistent_margin";

    fn check(&self) -> Result<()> {
        not_negative(Self::NAME, "lambda_plus", self.lambda_plus)?;
        not_negative(Self::NAME, "lambda_minus", self.lambda_minus)?;
        finite(Self::NAME, "margin_plus", self.margin_plus)?;
        finite(Self::NAME, "margin_minus", self.margin_minus)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
