//! A convolution with its weight, and a bias if it has one.

use super::{Scope, Start};
use crate::Result;
use crate::ops::{Window, conv2d};
use crate::weights::Parameter;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Where the zeros are that keep the size of an image under a stride.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// As many on each side, half of the kernel, as in PyTorch's networks.
    #[default]
    Even,
    /// As few as `⌈side / stride⌉` places want, the odd line below and to the right: `SAME` of TensorFlow and Keras.
    Tensorflow,
}

pub(crate) struct Conv {
    weight: Parameter,
    bias: Option<Parameter>,
    window: Window,
    padding: Padding,
}

impl Conv {
    /// `channels` are in and out; `k` is the side of the kernel.
    pub(crate) fn new(scope: &Scope<'_>, channels: [usize; 2], k: usize, window: Window, start: Start) -> Result<Self> {
        let [c_in, c_out] = channels;
        let weight = scope.parameter("weight", &[c_out, c_in / window.groups, k, k], start)?;
        Ok(Self { weight, bias: None, window, padding: Padding::Even })
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

    /// With zeros elsewhere around the image; the window's count for nothing then.
    pub(crate) fn padded(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.tensor();
        let y = match self.padding {
            Padding::Even => conv2d(x, &weight, self.window)?,
            Padding::Tensorflow => {
                let (kernel, stride) = (weight.dim(2)?, self.window.stride);
                let [(top, bottom), (left, right)] = [x.dim(2)?, x.dim(3)?].map(|side| around(side, kernel, stride));
                if [bottom, left, right].iter().all(|&lines| lines == top) {
                    conv2d(x, &weight, Window { padding: top, ..self.window })?
                } else {
                    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
                    conv2d(&padded, &weight, Window { padding: 0, ..self.window })?
                }
            }
        };
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(&bias.tensor().reshape((1, (), 1, 1))?)?,
            None => y,
        })
    }
}

/// Lines of zeros before and behind a side of an image.
fn around(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let all = ((side.div_ceil(stride).max(1) - 1) * stride + kernel).saturating_sub(side);
    (all / 2, all - all / 2)
}
