//! Multi-Similarity loss and its miner.
//!
//! `mean_i { (1/α) log[1 + Σ_P e^{−α(s−λ)}] + (1/β) log[1 + Σ_N e^{β(s−λ)}] }`, over all rows of the batch, also those
//! without a pair. Mining keeps a negative with `s_n > min_P s − ε` and a positive with `s_p < max_N s + ε`; a row that
//! lacks one kind keeps none. Wang et al., *Multi-Similarity Loss with General Pair Weighting*, 2019, eq. 11–14. The paper
//! has λ = 1, β = 50, its code λ = 0.5, β = 40; defaults here are those of pytorch-metric-learning.

use crate::composed::{ComposedTerms, Masks, any, largest, log_one_plus_sum_exp, smallest};
use crate::params::{LossParams, finite, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the Multi-Similarity loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSimilarityParams {
    /// Sharpness on positives. Default 2.
    pub alpha: f64,
    /// Sharpness on negatives. Default 50.
    pub beta: f64,
    /// Similarity λ that separates them. Default 0.5.
    pub base: f64,
    /// Margin ε of the miner; absent (default) uses all pairs. The paper mines with 0.1.
    pub epsilon: Option<f64>,
}

impl Default for MultiSimilarityParams {
    fn default() -> Self {
        Self { alpha: 2.0, beta: 50.0, base: 0.5, epsilon: None }
    }
}

impl<T: Real> RowObjective<T> for MultiSimilarityParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let (alpha, beta, base) = (T::of(self.alpha), T::of(self.beta), T::of(self.base));
        row.only_negatives(T::neg_infinity(), gradient);
        let mut strongest = T::infinity();
        if let Some(epsilon) = self.epsilon {
            let epsilon = T::of(epsilon);
            let weakest = row.positives().map(|j| row.scores[j]).fold(T::infinity(), T::min);
            strongest = vector::largest(gradient) + epsilon;
            let least = weakest - epsilon;
            for g in gradient.iter_mut() {
                *g = if *g <= least { T::neg_infinity() } else { *g };
            }
        }
        for g in gradient.iter_mut() {
            *g -= base;
        }
        let push = vector::log_sum_exp(gradient, beta, T::one()) / self.beta;
        // What is not a number stays, and shows.
        let keeps = |s: T| self.epsilon.is_none() || s < strongest || s.is_nan();
        let kept = || row.positives().filter(|&j| keeps(row.scores[j]));
        let mut shares: Vec<T> = kept().map(|j| row.scores[j] - base).collect();
        let pull = vector::log_sum_exp(&mut shares, -alpha, T::one()) / self.alpha;
        let weight = terms.add(0, T::of(pull + push));
        vector::scale(gradient, weight);
        kept().zip(shares).for_each(|(j, share)| gradient[j] -= weight * share);
    }
}

impl RowForm for MultiSimilarityParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (mut positive, mut negative) = (masks.positive.clone(), masks.negative.clone());
        if let Some(epsilon) = self.epsilon {
            let fixed = scores.detach();
            let strongest = (largest(&negative, &fixed)? + epsilon)?.unsqueeze(1)?;
            let weakest = (smallest(&positive, &fixed)? - epsilon)?.unsqueeze(1)?;
            let both = (any(&positive)? * any(&negative)?)?.unsqueeze(1)?;
            let dtype = scores.dtype();
            positive = (positive * fixed.broadcast_lt(&strongest)?.to_dtype(dtype)?)?.broadcast_mul(&both)?;
            negative = (negative * fixed.broadcast_gt(&weakest)?.to_dtype(dtype)?)?.broadcast_mul(&both)?;
        }
        let shifted = (scores - self.base)?;
        let pull = (log_one_plus_sum_exp(&positive, &(&shifted * -self.alpha)?)? / self.alpha)?;
        let push = (log_one_plus_sum_exp(&negative, &(&shifted * self.beta)?)? / self.beta)?;
        let value = (pull + push)?;
        let all = value.ones_like()?;
        Ok(vec![ComposedTerms::new(value, all)])
    }
}

impl LossParams for MultiSimilarityParams {
    const NAME: &'static str = "multi_similarity";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "alpha", self.alpha)?;
        positive(Self::NAME, "beta", self.beta)?;
        finite(Self::NAME, "base", self.base)?;
        finite(Self::NAME, "epsilon", self.epsilon.unwrap_or(0.0))
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        let mined = Self { epsilon: Some(0.1), ..pml.clone() };
        vec![
            ("authors", Self { beta: 40.0, ..mined.clone() }),
            ("paper", Self { base: 1.0, ..mined.clone() }),
            ("pml", pml),
            ("tfs", Self { beta: 40.0, ..mined }),
        ]
    }
}
