//! A layer norm with its weights.

use super::{Scope, Start};
use crate::Result;
use crate::ops::layer_norm;
use crate::weights::Parameter;
use candle_core::Tensor;

pub(crate) struct LayerNorm {
    gamma: Parameter,
    beta: Parameter,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(scope: &Scope<'_>, dim: usize, epsilon: f64) -> Result<Self> {
        let gamma = scope.parameter("weight", &[dim], Start::Ones)?;
        Ok(Self { gamma, beta: scope.parameter("bias", &[dim], Start::Zeros)?, epsilon })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.gamma.tensor(), &self.beta.tensor(), self.epsilon)?)
    }
}
