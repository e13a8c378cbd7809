//! BN-Inception (Ioffe & Szegedy, *Batch Normalization*, 2015, figure 5), without the classifier: the backbone of most papers of
//! metric learning before 2020.
//!
//! Names and details of the package `pretrainedmodels`, whose weights were Caffe's: convolutions have biases though norms follow, and
//! images are BGR, 0–255, less 104, 117, 128 (`Normalize::bgr_255` of dml-data).

use super::conv_norm::ConvNorm;
use crate::backbone::{Backbone, Features};
use crate::layer::{BatchNorm, Conv, Scope, Start};
use crate::ops::{Activation, Pool, PoolWindow, Window, pool2d};
use crate::{Input, Mode, Result};
use candle_core::Tensor;

/// Channels of a block's branches; 0: the branch is not there.
struct Shape {
    name: &'static str,
    one: usize,
    three: [usize; 2],
    double: [usize; 2],
    /// Of the branch behind the pool; 0: the pool is the branch, and the block halves the image.
    projection: usize,
    pool: Pool,
}

const fn shape(
    name: &'static str,
    one: usize,
    three: [usize; 2],
    double: [usize; 2],
    projection: usize,
    pool: Pool,
) -> Shape {
    Shape { name, one, three, double, projection, pool }
}

const BLOCKS: [Shape; 10] = [
    shape("inception_3a", 64, [64, 64], [64, 96], 32, Pool::Mean),
    shape("inception_3b", 64, [64, 96], [64, 96], 64, Pool::Mean),
    shape("inception_3c", 0, [128, 160], [64, 96], 0, Pool::Max),
    shape("inception_4a", 224, [64, 96], [96, 128], 128, Pool::Mean),
    shape("inception_4b", 192, [96, 128], [96, 128], 128, Pool::Mean),
    shape("inception_4c", 160, [128, 160], [128, 160], 128, Pool::Mean),
    shape("inception_4d", 96, [128, 192], [160, 192], 128, Pool::Mean),
    shape("inception_4e", 0, [128, 192], [192, 256], 0, Pool::Max),
    shape("inception_5a", 352, [192, 320], [160, 224], 128, Pool::Mean),
    shape("inception_5b", 352, [192, 320], [192, 224], 128, Pool::Max),
];

/// A 3×3 pool that halves an image.
const HALVING: PoolWindow = PoolWindow { side: 3, stride: 2, padding: 0, partial: true };

fn layer(scope: &Scope<'_>, name: &str, channels: [usize; 2], k: usize, stride: usize) -> Result<ConvNorm> {
    let conv = Conv::biased(&scope.at(name), channels, k, Window::same(k, stride), Start::KaimingOut)?;
    Ok(ConvNorm::of(conv, BatchNorm::new(&scope.at(format!("{name}_bn")), channels[1])?))
}

struct Block {
    one: Option<ConvNorm>,
    three: [ConvNorm; 2],
    double: [ConvNorm; 3],
    projection: Option<ConvNorm>,
    pool: Pool,
}

impl Block {
    fn new(scope: &Scope<'_>, c_in: usize, shape: &Shape) -> Result<Self> {
        let stride = if shape.projection == 0 { 2 } else { 1 };
        let layer =
            |what: &str, channels, k, stride| layer(scope, &format!("{}_{what}", shape.name), channels, k, stride);
        let ([t0, t1], [d0, d1]) = (shape.three, shape.double);
        Ok(Self {
            one: if shape.one > 0 { Some(layer("1x1", [c_in, shape.one], 1, 1)?) } else { None },
            three: [layer("3x3_reduce", [c_in, t0], 1, 1)?, layer("3x3", [t0, t1], 3, stride)?],
            double: [
                layer("double_3x3_reduce", [c_in, d0], 1, 1)?,
                layer("double_3x3_1", [d0, d1], 3, 1)?,
                layer("double_3x3_2", [d1, d1], 3, stride)?,
            ],
            projection: match shape.projection {
                0 => None,
                to => Some(layer("pool_proj", [c_in, to], 1, 1)?),
            },
            pool: shape.pool,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let relu = |layers: &[ConvNorm], x: &Tensor| {
            layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, mode, Activation::Relu))
        };
        let mut branches = Vec::with_capacity(4);
        if let Some(one) = &self.one {
            branches.push(one.forward(x, mode, Activation::Relu)?);
        }
        branches.push(relu(&self.three, x)?);
        branches.push(relu(&self.double, x)?);
        branches.push(match &self.projection {
            Some(projection) => {
                let around = PoolWindow { side: 3, stride: 1, padding: 1, partial: false };
                projection.forward(&pool2d(x, self.pool, around)?, mode, Activation::Relu)?
            }
            None => pool2d(x, self.pool, HALVING)?,
        });
        Ok(Tensor::cat(&branches, 1)?)
    }
}

/// The network.
pub(crate) struct BnInception {
    stem: [ConvNorm; 3],
    blocks: Vec<Block>,
    channels: usize,
}

impl BnInception {
    pub(crate) fn new(scope: &Scope<'_>, c_in: usize) -> Result<Self> {
        let stem = [
            layer(scope, "conv1_7x7_s2", [c_in, 64], 7, 2)?,
            layer(scope, "conv2_3x3_reduce", [64, 64], 1, 1)?,
            layer(scope, "conv2_3x3", [64, 192], 3, 1)?,
        ];
        let (mut channels, mut blocks) = (192, Vec::with_capacity(BLOCKS.len()));
        for shape in &BLOCKS {
            blocks.push(Block::new(scope, channels, shape)?);
            let pooled = if shape.projection == 0 { channels } else { shape.projection };
            channels = shape.one + shape.three[1] + shape.double[1] + pooled;
        }
        Ok(Self { stem, blocks, channels })
    }
}

impl Backbone for BnInception {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let [first, reduce, second] = &self.stem;
        let x = first.forward(input.images("bn_inception")?, mode, Activation::Relu)?;
        let x = reduce.forward(&pool2d(&x, Pool::Max, HALVING)?, mode, Activation::Relu)?;
        let x = second.forward(&x, mode, Activation::Relu)?;
        let mut x = pool2d(&x, Pool::Max, HALVING)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(Features::Map(x))
    }

    fn channels(&self) -> usize {
        self.channels
    }
}
