//! Generalized lifted structure loss.
//!
//! `[log Σ_P e^{d − m_pos} + log Σ_N e^{m_neg − d}]+` of each row, a logarithm of nothing taken as 0; mean over all rows. For
//! similarities `m_pos − s` and `s − m_neg`. Hermans et al., *In Defense of the Triplet Loss for Person
//! Re-Identification*, 2017, eq. 7 (after Oh Song et al. 2016); margins 0 and 1 as in pytorch-metric-learning.

use crate::composed::{ComposedTerms, Masks, hinge, log_sum_exp};
use crate::params::{LossParams, finite, metric};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::softmax::{negative_shares, positive_shares};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the generalized lifted structure loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneralizedLiftedStructureParams {
    /// What distances to negatives are taken from. Default 1.
    pub neg_margin: f64,
    /// What is taken from distances to positives. Default 0.
    pub pos_margin: f64,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for GeneralizedLiftedStructureParams {
    fn default() -> Self {
        Self { neg_margin: 1.0, pos_margin: 0.0, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct GeneralizedLiftedStructure {
    neg_margin: f64,
    pos_margin: f64,
    /// +1 for distances, −1 for similarities.
    sign: f64,
}

impl<T: Real> RowObjective<T> for GeneralizedLiftedStructure {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let sign = T::of(self.sign);
        let mut sum = 0.0;
        if row.count_negatives() > 0 {
            sum += negative_shares(row, -sign, gradient) + self.sign * self.neg_margin;
        }
        let (positives, shares) = positive_shares(row, sign);
        if !shares.is_empty() {
            sum += positives - self.sign * self.pos_margin;
        }
        if sum <= 0.0 {
            gradient.fill(T::zero());
            return terms.add_zeros(0, 1);
        }
        let step = T::of(terms.add(0, sum)) * sign;
        vector::scale(gradient, -step);
        row.positives().zip(shares).for_each(|(p, share)| gradient[p] += step * share);
    }
}

impl RowForm for GeneralizedLiftedStructure {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let pull = log_sum_exp(&masks.positive, &((scores - self.pos_margin)? * self.sign)?)?;
        let push = log_sum_exp(&masks.negative, &((scores - self.neg_margin)? * -self.sign)?)?;
        let value = hinge(&(pull + push)?)?;
        let all = value.ones_like()?;
        Ok(vec![ComposedTerms::new(value, all)])
    }
}

impl LossParams for GeneralizedLiftedStructureParams {
    const NAME: &'static str = "generalized_lifted_structure";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "neg_margin", self.neg_margin)?;
        finite(Self::NAME, "pos_margin", self.pos_margin)?;
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let (neg_margin, pos_margin) = (self.neg_margin, self.pos_margin);
        let row = GeneralizedLiftedStructure { neg_margin, pos_margin, sign: metric.sign() };
        Ok(Box::new(RowLoss::new(row, Space::new(metric, self.normalize), Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        vec![("paper", Self { normalize: false, ..pml.clone() }), ("pml", pml)]
    }
}
