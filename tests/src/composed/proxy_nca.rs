//! Proxy-NCA.

use super::cross_entropy::cross_entropy;
use candle_core::Tensor;
use dml_core::{Metric, l2_normalize, pairwise};
use dml_losses::Result;
use dml_losses::proxy::proxy_nca::ProxyNcaParams;

pub(super) fn loss(params: &ProxyNcaParams, embeddings: &Tensor, proxies: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let squares = pairwise(Metric::SquaredEuclidean, &l2_normalize(embeddings)?, &l2_normalize(proxies)?)?;
    cross_entropy(&(squares * -f64::from(params.softmax_scale))?, labels)
}
