//! A linear map with its weights.

use super::{Scope, Start};
use crate::Result;
use crate::ops::linear;
use crate::weights::Parameter;
use candle_core::Tensor;

pub(crate) struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Linear {
    /// `dims` are in and out; the bias begins at 0.
    pub(crate) fn new(scope: &Scope<'_>, dims: [usize; 2], start: Start) -> Result<Self> {
        let linear = Self::unbiased(scope, dims, start)?;
        Ok(Self { bias: Some(scope.parameter("bias", &[dims[1]], Start::Zeros)?), ..linear })
    }

    pub(crate) fn unbiased(scope: &Scope<'_>, [d_in, d_out]: [usize; 2], start: Start) -> Result<Self> {
        Ok(Self { weight: scope.parameter("weight", &[d_out, d_in], start)?, bias: None })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Parameter::tensor);
        Ok(linear(x, &self.weight.tensor(), bias.as_ref())?)
    }
}
