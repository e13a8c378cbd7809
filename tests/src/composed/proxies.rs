//! The learned vectors `[classes, dim]`.

use candle_core::{DType, Tensor, Var};
use dml_losses::{Error, Objective, Result};

pub(super) struct Proxies(Var);

impl Proxies {
    /// A copy of those of the fused twin, free to go its own way.
    pub(super) fn like(fused: &dyn Objective) -> Result<Self> {
        let found = fused.parameters().into_iter().find(|(name, _)| name == "proxies");
        let (_, var) = found.ok_or_else(|| Error::State("the fused loss has no proxies".to_owned()))?;
        Ok(Self(Var::from_tensor(&var.as_tensor().copy()?)?))
    }

    /// The vectors, in the type of the embeddings.
    pub(super) fn vectors(&self, dtype: DType) -> Result<Tensor> {
        Ok(self.0.as_tensor().to_dtype(dtype)?)
    }

    /// As an objective gives them.
    pub(super) fn parameters(&self) -> Vec<(String, Var)> {
        vec![("proxies".to_owned(), self.0.clone())]
    }
}
