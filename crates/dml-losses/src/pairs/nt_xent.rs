//! NT-Xent, also known as InfoNCE.
//!
//! `−log( e^{s_p/τ} / (e^{s_p/τ} + Σ_N e^{s_n/τ}) )` of each positive pair, the other positives of its anchor left out of
//! the denominator; mean over all positive pairs. For distances s is −d. Sohn 2016, eq. 6, and Chen et al., *A Simple
//! Framework for Contrastive Learning of Visual Representations*, 2020, eq. 1. τ = 0.07 as in pytorch-metric-learning;
//! SimCLR has 0.5 for CIFAR and 0.1 for ImageNet.

use crate::composed::{ComposedTerms, Masks, any, fill, log_sum_exp, softplus};
use crate::params::{LossParams, metric, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::softmax::{self, negative_shares};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of NT-Xent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NtXentParams {
    /// Temperature τ. Default 0.07.
    pub temperature: f64,
    /// Any metric. Default `cosine`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for NtXentParams {
    fn default() -> Self {
        Self { temperature: 0.07, metric: "cosine".to_owned(), normalize: true }
    }
}

struct NtXent {
    /// 1/τ, negative for distances.
    scale: f64,
}

impl<T: Real> RowObjective<T> for NtXent {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let scale = T::of(self.scale);
        let negatives = negative_shares(row, scale, gradient);
        let steps: Vec<T> = (row.positives().map(|p| {
            let (value, slope) = softmax::softplus(negatives - (scale * row.scores[p]).wide());
            T::of(terms.add(0, value) * slope) * scale
        }))
        .collect();
        vector::scale(gradient, steps.iter().copied().sum());
        row.positives().zip(steps).for_each(|(p, step)| gradient[p] -= step);
    }
}

impl RowForm for NtXent {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let logits = (scores * self.scale)?;
        let negatives = log_sum_exp(&masks.negative, &logits)?.unsqueeze(1)?;
        let against = softplus(&negatives.broadcast_sub(&logits)?)?;
        let some = any(&masks.negative)?.unsqueeze(1)?.broadcast_as(against.shape())?;
        Ok(vec![ComposedTerms::new(fill(&some, &against, 0.0)?, masks.positive.clone())])
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl LossParams for NtXentParams {
    const NAME: &'static str = "nt_xent";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)?;
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let row = NtXent { scale: -metric.sign() / self.temperature };
        Ok(Box::new(RowLoss::new(row, Space::new(metric, self.normalize), Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        vec![("paper", Self { temperature: 0.1, ..pml.clone() }), ("pml", pml)]
    }
}
