//! Neighbourhood components analysis.
//!
//! `−log Σ_{p∈P} softmax(−scale·d)_p` over all but the anchor, mean over the anchors that have a positive. Squared
//! distances, scale 1, for similarities `+scale·s`; defaults are those of pytorch-metric-learning. Goldberger et al.,
//! *Neighbourhood Components Analysis*, 2004, §2: its second objective (the logarithm), without its linear map. Mined tuples
//! weigh anchors. A probability that is too small for a float keeps its logarithm here; others drop such anchors.

use crate::composed::{ComposedTerms, Masks, any, fill, log_sum_exp, softplus};
use crate::params::{LossParams, metric, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::softmax::{self, negative_shares, positive_shares};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of NCA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NcaParams {
    /// Factor on the distances. Default 1.
    pub softmax_scale: f64,
    /// Any metric. Default `squared_euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for NcaParams {
    fn default() -> Self {
        Self { softmax_scale: 1.0, metric: "squared_euclidean".to_owned(), normalize: true }
    }
}

/// `−log` of the share that the positives of a row have together in positives and negatives.
pub(crate) struct Neighbours {
    /// Factor on the scores; negative for distances.
    pub(crate) scale: f64,
    pub(crate) tuples_are_weights: bool,
}

impl<T: Real> RowObjective<T> for Neighbours {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let scale = T::of(self.scale);
        let negatives = negative_shares(row, scale, gradient);
        let (positives, shares) = positive_shares(row, scale);
        let (value, slope) = softmax::softplus(negatives - positives);
        let step = T::of(terms.add(0, value) * slope) * scale;
        vector::scale(gradient, step);
        row.positives().zip(shares).for_each(|(p, share)| gradient[p] -= step * share);
    }
}

impl RowForm for Neighbours {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let logits = (scores * self.scale)?;
        let against = (log_sum_exp(&masks.negative, &logits)? - log_sum_exp(&masks.positive, &logits)?)?;
        let value = fill(&any(&masks.negative)?, &softplus(&against)?, 0.0)?;
        Ok(vec![ComposedTerms::new(value, any(&masks.positive)?)])
    }

    fn tuples_are_weights(&self) -> bool {
        self.tuples_are_weights
    }
}

impl LossParams for NcaParams {
    const NAME: &'static str = "nca";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "softmax_scale", self.softmax_scale)?;
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let row = Neighbours { scale: -metric.sign() * self.softmax_scale, tuples_are_weights: true };
        Ok(Box::new(RowLoss::new(row, Space::new(metric, self.normalize), Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { normalize: false, ..Self::default() }), ("pml", Self::default())]
    }
}
