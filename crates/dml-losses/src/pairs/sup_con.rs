//! Supervised contrastive loss.
//!
//! `−(1/|P|) Σ_{p∈P} log( e^{s_p/τ} / Σ_{P∪N} e^{s/τ} )` of each row with a positive, 0 of the others; mean over the rows
//! where it is not 0. A batch without any negative pair has loss 0. Cosines. Khosla et al., *Supervised Contrastive
//! Learning*, 2020, eq. 2 (the mean outside of the logarithm). τ = 0.1 as in the paper and in pytorch-metric-learning; the
//! authors' code multiplies the loss by τ/0.07 besides.

use crate::composed::{ComposedTerms, Masks, any, log_sum_exp};
use crate::params::{LossParams, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result, softmax};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the supervised contrastive loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupConParams {
    /// Temperature τ. Default 0.1.
    pub temperature: f64,
}

impl Default for SupConParams {
    fn default() -> Self {
        Self { temperature: 0.1 }
    }
}

impl<T: Real> RowObjective<T> for SupConParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(nearest) = row.positives().reduce(|a, b| if row.scores[b] > row.scores[a] { b } else { a }) else {
            return terms.add_zeros(0, 1);
        };
        let scale = T::of(self.temperature.recip());
        // With the nearest positive as the target: its own −log share, and how far the others are behind it.
        row.only_negatives(T::neg_infinity(), gradient);
        row.positives().for_each(|p| gradient[p] = row.scores[p]);
        gradient[nearest] = T::neg_infinity();
        let others = vector::log_sum_exp(gradient, scale, T::zero());
        let (share, slope) = softmax::softplus(others - (scale * row.scores[nearest]).wide());
        let behind: f64 = row.positives().map(|p| (scale * (row.scores[nearest] - row.scores[p])).wide()).sum();
        let each = 1.0 / row.positives.len() as f64;
        let step = terms.add(0, share + behind * each) / self.temperature;
        vector::scale(gradient, T::of(step * slope));
        // Not `(1 − slope) − 1`, which has no digits where the slope is small.
        gradient[nearest] = T::of(step * (1.0 - each - slope));
        row.positives().filter(|&p| p != nearest).for_each(|p| gradient[p] -= T::of(step * each));
    }
}

impl RowForm for SupConParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let logits = (scores / self.temperature)?;
        let all = log_sum_exp(&(&masks.positive + &masks.negative)?.clamp(0.0, 1.0)?, &logits)?;
        let some = any(&masks.positive)?;
        let count = (masks.positive.sum(1)? + (1.0 - &some)?)?;
        let mean = ((logits * &masks.positive)?.sum(1)? / count)?;
        Ok(vec![ComposedTerms::new(((all - mean)? * &some)?, some.ones_like()?)])
    }

    fn wants_both_kinds(&self) -> bool {
        true
    }
}

impl LossParams for SupConParams {
    const NAME: &'static str = "sup_con";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::MeanNonZero, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default()), ("pml", Self::default())]
    }
}
