//! A rectifier that learns its slope.

use super::{Scope, Start};
use crate::Result;
use crate::ops::Activation;
use crate::weights::Parameter;
use candle_core::Tensor;

/// `max(x, 0) + a·min(x, 0)` with a learned `a` for each channel (He et al., *Delving Deep into Rectifiers*, 2015, eq. 1).
pub(crate) struct PRelu(Parameter);

impl PRelu {
    pub(crate) fn new(scope: &Scope<'_>, channels: usize) -> Result<Self> {
        Ok(Self(scope.parameter("weight", &[channels], Start::Value(0.25))?))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let slope = self.0.tensor().reshape((1, (), 1, 1))?;
        let below = Activation::Relu.apply(&x.neg()?)?.broadcast_mul(&slope)?;
        Ok((Activation::Relu.apply(x)? - below)?)
    }
}
