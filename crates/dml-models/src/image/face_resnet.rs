//! dlib's residual network for faces, of 29 convolutions (King, `dnn_face_recognition_ex.cpp`, 2017): its shortcuts have no weights,
//! but means of 2×2 and zeros for the channels that are new.
//!
//! Names of face-api's weights, with `scale` for dlib's norm. Convolutions with a stride look at nothing outside of the image, so a
//! map may be a line smaller than its shortcut: zeros stand in. Faces are aligned, 150×150, less the mean (122.782, 117.001, 104.298),
//! by 255, as face-api has it (dlib itself divides by 256); faces whose embeddings are nearer than 0.6 are of one person.

use super::conv_norm::ConvNorm;
use crate::backbone::{Backbone, Features};
use crate::layer::{Linear, Scope, Start};
use crate::ops::{Activation, Pool, PoolWindow, Window, add, global_mean, pool2d};
use crate::{Input, Mode, Result};
use candle_core::Tensor;

/// Length of an embedding.
const DIM: usize = 128;
/// Channels of a stage and blocks that keep its size; the first stage begins with the stem, the others with a block that halves.
const STAGES: [(usize, usize); 4] = [(32, 3), (64, 3), (128, 2), (256, 2)];

struct Block {
    first: ConvNorm,
    second: ConvNorm,
    halves: bool,
}

impl Block {
    fn new(scope: &Scope<'_>, [c_in, c_out]: [usize; 2], halves: bool) -> Result<Self> {
        let layer =
            |name: &str, channels, window| ConvNorm::new(&scope.at(name), ["conv", "scale"], channels, 3, window);
        let window = if halves { Window { stride: 2, ..Window::default() } } else { Window::same(3, 1) };
        Ok(Self {
            first: layer("conv1", [c_in, c_out], window)?,
            second: layer("conv2", [c_out, c_out], Window::same(3, 1))?,
            halves,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.first.forward(x, mode, Activation::Relu)?;
        if !self.halves {
            return self.second.add(&y, x, mode, Activation::Relu);
        }
        let y = self.second.forward(&y, mode, Activation::Identity)?;
        let shortcut = pool2d(x, Pool::Mean, PoolWindow { side: 2, stride: 2, padding: 0, partial: false })?;
        let [y, shortcut] = widened([y, shortcut])?;
        Ok(Activation::Relu.apply(&add(&y, &shortcut)?)?)
    }
}

/// Both of the larger size in each direction, with zeros behind.
fn widened(mut both: [Tensor; 2]) -> Result<[Tensor; 2]> {
    for dim in 1..4 {
        let sizes = [both[0].dim(dim)?, both[1].dim(dim)?];
        let size = sizes[0].max(sizes[1]);
        for x in &mut both {
            *x = x.pad_with_zeros(dim, 0, size - x.dim(dim)?)?;
        }
    }
    Ok(both)
}

/// The network.
pub(crate) struct FaceResNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    linear: Linear,
}

impl FaceResNet {
    /// For images of so many channels.
    pub(crate) fn new(scope: &Scope<'_>, c_in: usize) -> Result<Self> {
        let window = Window { stride: 2, ..Window::default() };
        let stem = ConvNorm::new(&scope.at("conv32_down"), ["conv", "scale"], [c_in, STAGES[0].0], 7, window)?;
        let (mut c, mut blocks) = (STAGES[0].0, Vec::new());
        for (stage, (c_out, count)) in STAGES.into_iter().enumerate() {
            if stage > 0 {
                blocks.push(Block::new(&scope.at(format!("conv{c_out}_down")), [c, c_out], true)?);
            }
            for i in 1..=count {
                blocks.push(Block::new(&scope.at(format!("conv{c_out}_{i}")), [c_out, c_out], false)?);
            }
            c = c_out;
        }
        blocks.push(Block::new(&scope.at(format!("conv{c}_down_out")), [c, c], true)?);
        Ok(Self { stem, blocks, linear: Linear::unbiased(&scope.at("fc"), [c, DIM], Start::FanIn)? })
    }
}

impl Backbone for FaceResNet {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let x = self.stem.forward(input.images("face_resnet")?, mode, Activation::Relu)?;
        let mut x = pool2d(&x, Pool::Max, PoolWindow { side: 3, stride: 2, padding: 0, partial: false })?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(Features::Vectors(self.linear.forward(&global_mean(&x)?)?))
    }

    fn channels(&self) -> usize {
        DIM
    }
}
