//! Normalised softmax.

use super::cross_entropy::cross_entropy;
use candle_core::Tensor;
use dml_core::{Metric, pairwise};
use dml_losses::Result;
use dml_losses::proxy::normalized_softmax::NormalizedSoftmaxParams;

pub(super) fn loss(
    params: &NormalizedSoftmaxParams,
    embeddings: &Tensor,
    proxies: &Tensor,
    labels: &[u32],
) -> Result<Tensor> {
    let cosines = pairwise(Metric::Cosine, embeddings, proxies)?;
    cross_entropy(&(cosines / f64::from(params.temperature))?, labels)
}
