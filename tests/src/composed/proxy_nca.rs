//! Proxy-NCA.

use super::cross_entropy::cross_entropy;
use super::proxies::Proxies;
use candle_core::{Tensor, Var};
use dml_core::{Metric, l2_normalize, pairwise};
use dml_losses::proxy::proxy_nca::ProxyNcaParams;
use dml_losses::{Objective, Result};

pub(super) struct ProxyNca {
    params: ProxyNcaParams,
    proxies: Proxies,
}

impl ProxyNca {
    pub(super) fn new(params: ProxyNcaParams, fused: &dyn Objective) -> Result<Self> {
        Ok(Self { params, proxies: Proxies::like(fused)? })
    }
}

impl Objective for ProxyNca {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let proxies = l2_normalize(&self.proxies.vectors(embeddings.dtype())?)?;
        let squares = pairwise(Metric::SquaredEuclidean, &l2_normalize(embeddings)?, &proxies)?;
        cross_entropy(&(squares * -f64::from(self.params.softmax_scale))?, labels)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }
}
