//! Proxy-Anchor: the proxies are the anchors.

use super::masks::{Masks, any};
use super::proxies::Proxies;
use super::terms::{log_one_plus_sum_exp, mean};
use candle_core::{Tensor, Var};
use dml_core::{Metric, pairwise};
use dml_losses::proxy::proxy_anchor::ProxyAnchorParams;
use dml_losses::{Objective, Result};

pub(super) struct ProxyAnchor {
    params: ProxyAnchorParams,
    proxies: Proxies,
}

impl ProxyAnchor {
    pub(super) fn new(params: ProxyAnchorParams, fused: &dyn Objective) -> Result<Self> {
        Ok(Self { params, proxies: Proxies::like(fused)? })
    }
}

impl Objective for ProxyAnchor {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let proxies = self.proxies.vectors(embeddings.dtype())?;
        let classes: Vec<u32> = (0..proxies.dim(0)? as u32).collect();
        let masks = Masks::between(&classes, labels, embeddings.device())?;
        let cosines = pairwise(Metric::Cosine, &proxies, embeddings)?;
        let (alpha, margin) = (f64::from(self.params.alpha), f64::from(self.params.margin));
        let pull = log_one_plus_sum_exp(&masks.positive, &((&cosines - margin)? * -alpha)?)?;
        let push = log_one_plus_sum_exp(&masks.negative, &((&cosines + margin)? * alpha)?)?;
        Ok((mean(&any(&masks.positive)?, &pull)? + push.mean_all()?)?)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }
}
