//! A convolution with its weight, and a bias if it has one.

use super::{Scope, Start};
use crate::Result;
use crate::ops::{Window, conv2d};
use crate::weights::Parameter;
use candle_core::Tensor;

pub(crate) struct Conv {
    weight: Parameter,
    bias: Option<Parameter>,
    window: Window,
}

impl Conv {
    /// `channels` are in and out; `k` is the side of the kernel.
    pub(crate) fn new(scope: &Scope<'_>, channels: [usize; 2], k: usize, window: Window, start: Start) -> Result<Self> {
        let [c_in, c_out] = channels;
        let weight = scope.parameter("weight", &[c_out, c_in / window.groups, k, k], start)?;
        Ok(Self { weight, bias: None, window })
    }

    /// As [`Self::new`], with a bias that begins at 0.
    pub(crate) fn biased(
        scope: &Scope<'_>,
        channels: [usize; 2],
        k: usize,
        window: Window,
        start: Start,
    ) -> Result<Self> {
        let conv = Self::new(scope, channels, k, window, start)?;
        Ok(Self { bias: Some(scope.parameter("bias", &[channels[1]], Start::Zeros)?), ..conv })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight.tensor(), self.window)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(&bias.tensor().reshape((1, (), 1, 1))?)?,
            None => y,
        })
    }
}
