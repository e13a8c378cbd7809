//! IResNet-50 for faces (Duta et al., *Improved Residual Networks*, 2020; as insightface trains it with ArcFace), with its own end:
//! norm, a linear map of the whole last map, and a norm without scale.
//!
//! Names and details of insightface's `arcface_torch`. Faces are aligned, 112×112, in −1..1. Its dropout is left out.

use super::conv_norm::ConvNorm;
use crate::backbone::{Backbone, Features};
use crate::layer::{BatchNorm, Conv, Linear, PRelu, Scope, Start};
use crate::ops::{Activation, Window};
use crate::{Input, Mode, Result};
use candle_core::Tensor;

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 14, 3];
/// Length of an embedding.
const DIM: usize = 512;

struct Block {
    before: BatchNorm,
    first: ConvNorm,
    prelu: PRelu,
    second: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl Block {
    fn new(scope: &Scope<'_>, c_in: usize, c_out: usize, stride: usize) -> Result<Self> {
        let three = |names, channels, stride| ConvNorm::new(scope, names, channels, 3, Window::same(3, stride));
        Ok(Self {
            before: BatchNorm::new(&scope.at("bn1"), c_in)?,
            first: three(["conv1", "bn2"], [c_in, c_out], 1)?,
            prelu: PRelu::new(&scope.at("prelu"), c_out)?,
            second: three(["conv2", "bn3"], [c_out, c_out], stride)?,
            downsample: (stride != 1 || c_in != c_out)
                .then(|| {
                    let scope = scope.at("downsample");
                    ConvNorm::new(&scope, ["0", "1"], [c_in, c_out], 1, Window::same(1, stride))
                })
                .transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.before.forward(x, mode, Activation::Identity)?;
        let y = self.prelu.forward(&self.first.forward(&y, mode, Activation::Identity)?)?;
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x, mode, Activation::Identity)?,
            None => x.clone(),
        };
        self.second.add(&y, &shortcut, mode, Activation::Identity)
    }
}

/// The network.
pub(crate) struct IResNet {
    conv: Conv,
    norm: BatchNorm,
    prelu: PRelu,
    blocks: Vec<Block>,
    last: BatchNorm,
    linear: Linear,
    features: BatchNorm,
    input: [usize; 3],
}

impl IResNet {
    /// For images of the shape `input` (`[c, h, w]`).
    pub(crate) fn new(scope: &Scope<'_>, input: [usize; 3]) -> Result<Self> {
        Self::of_depth(scope, BLOCKS, input)
    }

    /// With so many blocks in each stage.
    pub(super) fn of_depth(scope: &Scope<'_>, depth: [usize; 4], input: [usize; 3]) -> Result<Self> {
        let [c, h, w] = input;
        let conv = Conv::new(&scope.at("conv1"), [c, 64], 3, Window::same(3, 1), Start::KaimingOut)?;
        let (norm, prelu) = (BatchNorm::new(&scope.at("bn1"), 64)?, PRelu::new(&scope.at("prelu"), 64)?);
        let (mut channels, mut blocks) = (64, Vec::new());
        for (stage, &count) in depth.iter().enumerate() {
            let (scope, c_out) = (scope.at(format!("layer{}", stage + 1)), 64 << stage);
            for i in 0..count {
                blocks.push(Block::new(&scope.at(i), channels, c_out, if i == 0 { 2 } else { 1 })?);
                channels = c_out;
            }
        }
        let places = h.div_ceil(16) * w.div_ceil(16);
        Ok(Self {
            conv,
            norm,
            prelu,
            blocks,
            last: BatchNorm::new(&scope.at("bn2"), channels)?,
            linear: Linear::new(&scope.at("fc"), [channels * places, DIM], Start::FanIn)?,
            features: BatchNorm::unscaled(&scope.at("features"), DIM)?,
            input,
        })
    }
}

impl Backbone for IResNet {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let images = input.images_of("iresnet", self.input)?;
        let x = self.norm.forward(&self.conv.forward(images)?, mode, Activation::Identity)?;
        let mut x = self.prelu.forward(&x)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        let x = self.last.forward(&x, mode, Activation::Identity)?;
        let x = self.linear.forward(&x.flatten_from(1)?)?;
        Ok(Features::Vectors(self.features.forward(&x, mode, Activation::Identity)?))
    }

    fn channels(&self) -> usize {
        DIM
    }
}
