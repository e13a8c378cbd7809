//! What all losses with learned vectors `[classes, dim]` share.

use candle_core::{Tensor, Var};
use dml_losses::{Error, Objective, Result};

/// The loss of `embeddings` (`[n, dim]`) and `proxies` (`[classes, dim]`) of one type: `(params, embeddings, proxies, labels)`.
pub(super) type Loss<P> = fn(&P, &Tensor, &Tensor, &[u32]) -> Result<Tensor>;

/// A loss with proxies of its own.
pub(super) struct WithProxies<P> {
    params: P,
    proxies: Var,
    loss: Loss<P>,
}

impl<P> WithProxies<P> {
    /// With a copy of the proxies of the fused twin, free to go its own way.
    pub(super) fn like(fused: &dyn Objective, params: P, loss: Loss<P>) -> Result<Self> {
        let found = fused.parameters().into_iter().find(|(name, _)| name == "proxies");
        let (_, var) = found.ok_or_else(|| Error::State("the fused loss has no proxies".to_owned()))?;
        Ok(Self { params, proxies: Var::from_tensor(&var.as_tensor().copy()?)?, loss })
    }
}

impl<P: Send> Objective for WithProxies<P> {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let proxies = self.proxies.as_tensor().to_dtype(embeddings.dtype())?;
        (self.loss)(&self.params, embeddings, &proxies, labels)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        vec![("proxies".to_owned(), self.proxies.clone())]
    }
}
