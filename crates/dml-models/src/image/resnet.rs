//! ResNet-18, -34 and -50 (He et al., *Deep Residual Learning for Image Recognition*, 2016, table 1), without the classifier.
//!
//! Names and details of torchvision, which timm's `resnet18`, `resnet34` and `resnet50` share: the bottleneck has its stride in the
//! 3×3 convolution ("v1.5"). candle-transformers' ResNet has no batch statistics, so it cannot be trained.

use super::conv_norm::ConvNorm;
use crate::backbone::{Backbone, Features};
use crate::layer::Scope;
use crate::ops::{Activation, Pool, PoolWindow, Window, pool2d};
use crate::{Input, Mode, Result};
use candle_core::Tensor;

/// Which ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Blocks of each stage.
    pub(super) blocks: [usize; 4],
    /// Whether blocks are bottlenecks: 1×1, 3×3, 1×1 with four times as many channels.
    pub(super) bottleneck: bool,
}

impl Depth {
    pub(crate) const RESNET18: Self = Self { blocks: [2, 2, 2, 2], bottleneck: false };
    pub(crate) const RESNET34: Self = Self { blocks: [3, 4, 6, 3], bottleneck: false };
    pub(crate) const RESNET50: Self = Self { blocks: [3, 4, 6, 3], bottleneck: true };

    fn expansion(self) -> usize {
        if self.bottleneck { 4 } else { 1 }
    }
}

/// Channels of the first stage, and of the stem.
const WIDTH: usize = 64;

struct Block {
    /// All but the last, each followed by a ReLU.
    first: Vec<ConvNorm>,
    last: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl Block {
    fn new(scope: &Scope<'_>, depth: Depth, c_in: usize, width: usize, stride: usize) -> Result<Self> {
        let c_out = width * depth.expansion();
        let layer = |i: usize, channels, k, stride| {
            ConvNorm::new(scope, [&format!("conv{i}"), &format!("bn{i}")], channels, k, Window::same(k, stride))
        };
        let (first, last) = if depth.bottleneck {
            (
                vec![layer(1, [c_in, width], 1, 1)?, layer(2, [width, width], 3, stride)?],
                layer(3, [width, c_out], 1, 1)?,
            )
        } else {
            (vec![layer(1, [c_in, width], 3, stride)?], layer(2, [width, c_out], 3, 1)?)
        };
        let downsample = (stride != 1 || c_in != c_out)
            .then(|| ConvNorm::new(&scope.at("downsample"), ["0", "1"], [c_in, c_out], 1, Window::same(1, stride)))
            .transpose()?;
        Ok(Self { first, last, downsample })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut y = x.clone();
        for layer in &self.first {
            y = layer.forward(&y, mode, Activation::Relu)?;
        }
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x, mode, Activation::Identity)?,
            None => x.clone(),
        };
        self.last.add(&y, &shortcut, mode, Activation::Relu)
    }
}

/// A residual network.
pub(crate) struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    channels: usize,
}

impl ResNet {
    pub(crate) fn new(scope: &Scope<'_>, depth: Depth, c_in: usize) -> Result<Self> {
        let stem = ConvNorm::new(scope, ["conv1", "bn1"], [c_in, WIDTH], 7, Window::same(7, 2))?;
        let mut channels = WIDTH;
        let mut stages = Vec::new();
        for (stage, &blocks) in depth.blocks.iter().enumerate() {
            let (scope, width) = (scope.at(format!("layer{}", stage + 1)), WIDTH << stage);
            let block = |i: usize| {
                let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                let block = Block::new(&scope.at(i), depth, channels, width, stride);
                channels = width * depth.expansion();
                block
            };
            stages.push((0..blocks).map(block).collect::<Result<Vec<_>>>()?);
        }
        Ok(Self { stem, stages, channels })
    }
}

impl Backbone for ResNet {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let x = self.stem.forward(input.images("resnet")?, mode, Activation::Relu)?;
        let mut x = pool2d(&x, Pool::Max, PoolWindow { side: 3, stride: 2, padding: 1, partial: false })?;
        for block in self.stages.iter().flatten() {
            x = block.forward(&x, mode)?;
        }
        Ok(Features::Map(x))
    }

    fn channels(&self) -> usize {
        self.channels
    }
}
