//! A convolution and the batch norm behind it.

use crate::layer::{BatchNorm, Conv, Padding, Scope, Start};
use crate::ops::{Activation, Window};
use crate::{Mode, Result};
use candle_core::Tensor;

pub(super) struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
}

impl ConvNorm {
    /// `names` are of the convolution and of the norm; `channels` are in and out.
    pub(super) fn new(
        scope: &Scope<'_>,
        [conv, norm]: [&str; 2],
        channels: [usize; 2],
        k: usize,
        window: Window,
    ) -> Result<Self> {
        let conv = Conv::new(&scope.at(conv), channels, k, window, Start::KaimingOut)?;
        Ok(Self { conv, norm: BatchNorm::new(&scope.at(norm), channels[1])? })
    }

    /// Of both.
    pub(super) fn of(conv: Conv, norm: BatchNorm) -> Self {
        Self { conv, norm }
    }

    /// With another ε and momentum of the norm.
    pub(super) fn with(self, epsilon: f64, momentum: f64) -> Self {
        Self { norm: self.norm.with(epsilon, momentum), ..self }
    }

    /// With zeros elsewhere around the image.
    pub(super) fn padded(self, padding: Padding) -> Self {
        Self { conv: self.conv.padded(padding), ..self }
    }

    pub(super) fn forward(&self, x: &Tensor, mode: Mode, activation: Activation) -> Result<Tensor> {
        self.norm.within(self.conv.forward(x)?, None, mode, activation)
    }

    /// `activation(norm(conv(x)) + residual)`.
    pub(super) fn add(&self, x: &Tensor, residual: &Tensor, mode: Mode, activation: Activation) -> Result<Tensor> {
        self.norm.within(self.conv.forward(x)?, Some(residual), mode, activation)
    }
}
