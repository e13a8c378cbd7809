//! Contrastive loss over two masks.

use super::masks::Masks;
use super::terms::mean_above_zero;
use candle_core::Tensor;
use dml_core::{Metric, l2_normalize, pairwise};
use dml_losses::pairs::contrastive::ContrastiveParams;
use dml_losses::{Objective, Result};

pub(super) struct Contrastive {
    params: ContrastiveParams,
    metric: Metric,
}

impl Contrastive {
    pub(super) fn new(params: ContrastiveParams) -> Result<Self> {
        Ok(Self { metric: params.metric.parse()?, params })
    }
}

impl Objective for Contrastive {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let x = if self.params.normalize { l2_normalize(embeddings)? } else { embeddings.clone() };
        let scores = pairwise(self.metric, &x, &x)?;
        let masks = Masks::within(labels, embeddings.device())?;
        let sign = if self.metric.is_similarity() { -1.0 } else { 1.0 };
        let pull = ((&scores - f64::from(self.params.pos_margin))? * sign)?;
        let push = ((&scores - f64::from(self.params.neg_margin))? * -sign)?;
        Ok((mean_above_zero(&masks.positive, &pull)? + mean_above_zero(&masks.negative, &push)?)?)
    }
}
