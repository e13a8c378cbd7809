//! Normalised softmax.

use super::cross_entropy::cross_entropy;
use super::proxies::Proxies;
use candle_core::{Tensor, Var};
use dml_core::{Metric, pairwise};
use dml_losses::proxy::normalized_softmax::NormalizedSoftmaxParams;
use dml_losses::{Objective, Result};

pub(super) struct NormalizedSoftmax {
    params: NormalizedSoftmaxParams,
    proxies: Proxies,
}

impl NormalizedSoftmax {
    pub(super) fn new(params: NormalizedSoftmaxParams, fused: &dyn Objective) -> Result<Self> {
        Ok(Self { params, proxies: Proxies::like(fused)? })
    }
}

impl Objective for NormalizedSoftmax {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let cosines = pairwise(Metric::Cosine, embeddings, &self.proxies.vectors(embeddings.dtype())?)?;
        cross_entropy(&(cosines / f64::from(self.params.temperature))?, labels)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }
}
