//! Proxy-Anchor: the proxies are the anchors.

use super::masks::{Masks, any};
use super::terms::{log_one_plus_sum_exp, mean};
use candle_core::Tensor;
use dml_core::{Metric, pairwise};
use dml_losses::Result;
use dml_losses::proxy::proxy_anchor::ProxyAnchorParams;

pub(super) fn loss(
    params: &ProxyAnchorParams,
    embeddings: &Tensor,
    proxies: &Tensor,
    labels: &[u32],
) -> Result<Tensor> {
    let classes: Vec<u32> = (0..proxies.dim(0)? as u32).collect();
    let masks = Masks::between(&classes, labels, embeddings.device())?;
    let cosines = pairwise(Metric::Cosine, proxies, embeddings)?;
    let (alpha, margin) = (f64::from(params.alpha), f64::from(params.margin));
    let pull = log_one_plus_sum_exp(&masks.positive, &((&cosines - margin)? * -alpha)?)?;
    let push = log_one_plus_sum_exp(&masks.negative, &((&cosines + margin)? * alpha)?)?;
    Ok((mean(&any(&masks.positive)?, &pull)? + push.mean_all()?)?)
}
