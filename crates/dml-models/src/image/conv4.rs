//! Conv-4: four blocks of 3×3 convolution, batch norm, ReLU and 2×2 max-pooling, then an optional linear head.
//!
//! The backbone of Matching and Prototypical Networks (Vinyals et al. 2016; Snell et al. 2017, §3.1). For 28×28
//! images the flattened output is 64-d. The convolutions have no bias: batch norm would cancel it.

use super::conv::conv3x3;
use super::norm_pool::{ChannelStatistics, norm_relu_pool};
use crate::encoder::{Encoder, Mode};
use crate::init::Init;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

/// Weight of the new batch in the running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;
const BLOCKS: usize = 4;

/// Shape of a [`Conv4`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv4Config {
    /// Filters of each block. Default 64.
    pub filters: usize,
    /// Length of the embedding; 0 (default) gives the flattened feature map without a linear head.
    pub dim: usize,
}

impl Default for Conv4Config {
    fn default() -> Self {
        Self { filters: 64, dim: 0 }
    }
}

struct Block {
    weight: Var,
    gamma: Var,
    beta: Var,
    running_mean: Var,
    running_variance: Var,
}

impl Block {
    fn new(c_in: usize, c_out: usize, init: &mut Init, device: &Device) -> Result<Self> {
        Ok(Self {
            weight: init.kaiming(&[c_out, c_in, 3, 3], device)?,
            gamma: Var::ones(c_out, DType::F32, device)?,
            beta: Var::zeros(c_out, DType::F32, device)?,
            running_mean: Var::zeros(c_out, DType::F32, device)?,
            running_variance: Var::ones(c_out, DType::F32, device)?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = conv3x3(x, &self.weight)?;
        let statistics = match mode {
            Mode::Train => {
                let batch = ChannelStatistics::of_batch(&x)?;
                self.update(&batch, x.elem_count() / self.gamma.elem_count())?;
                batch
            }
            Mode::Eval => {
                ChannelStatistics { mean: self.running_mean.to_vec1()?, variance: self.running_variance.to_vec1()? }
            }
        };
        Ok(norm_relu_pool(&x, &self.gamma, &self.beta, statistics, mode == Mode::Train)?)
    }

    fn update(&self, batch: &ChannelStatistics, count: usize) -> Result<()> {
        // The running variance is the unbiased one, as in PyTorch.
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        blend(&self.running_mean, &batch.mean, 1.0)?;
        blend(&self.running_variance, &batch.variance, unbiased)
    }

    fn named(&self, index: usize) -> [(String, &Var); 5] {
        let name = |part: &str| format!("block{index}.{part}");
        [
            (name("conv.weight"), &self.weight),
            (name("norm.weight"), &self.gamma),
            (name("norm.bias"), &self.beta),
            (name("norm.running_mean"), &self.running_mean),
            (name("norm.running_var"), &self.running_variance),
        ]
    }
}

fn blend(running: &Var, batch: &[f32], scale: f64) -> Result<()> {
    let old: Vec<f32> = running.to_vec1()?;
    let new: Vec<f32> = old
        .iter()
        .zip(batch)
        .map(|(&old, &new)| (f64::from(old) * (1.0 - MOMENTUM) + f64::from(new) * scale * MOMENTUM) as f32)
        .collect();
    Ok(running.set(&Tensor::from_vec(new, old.len(), running.device())?)?)
}

/// The four-block convolutional encoder.
pub struct Conv4 {
    blocks: Vec<Block>,
    head: Option<(Var, Var)>,
    input: [usize; 3],
    dim: usize,
}

impl Conv4 {
    /// Builds the network for images of shape `input` (`[c, h, w]`), with weights drawn from `seed`.
    ///
    /// # Errors
    /// When the images are smaller than 16×16 (four poolings leave nothing) or `filters` is 0.
    pub fn new(config: &Conv4Config, input: [usize; 3], seed: u64, device: &Device) -> Result<Self> {
        let [c, h, w] = input;
        if c == 0 || h < 16 || w < 16 || config.filters == 0 {
            return Err(Error::Config(format!(
                "conv4 with {} filters on {c}x{h}x{w} images: want filters of 1 or more and images of 16x16 or more",
                config.filters
            )));
        }
        let mut init = Init::new(seed);
        let blocks = (0..BLOCKS)
            .map(|i| Block::new(if i == 0 { c } else { config.filters }, config.filters, &mut init, device))
            .collect::<Result<Vec<_>>>()?;
        let features = config.filters * (h >> BLOCKS) * (w >> BLOCKS);
        let head = match config.dim {
            0 => None,
            dim => {
                let std = (1.0 / features as f64).sqrt();
                Some((init.normal(&[dim, features], std, device)?, Var::zeros(dim, DType::F32, device)?))
            }
        };
        let dim = if config.dim == 0 { features } else { config.dim };
        Ok(Self { blocks, head, input, dim })
    }

    fn named(&self) -> impl Iterator<Item = (String, &Var)> {
        let head = self.head.iter().flat_map(|(w, b)| [("head.weight".to_owned(), w), ("head.bias".to_owned(), b)]);
        self.blocks.iter().enumerate().flat_map(|(i, b)| b.named(i)).chain(head)
    }
}

impl Encoder for Conv4 {
    fn embed(&self, inputs: &Tensor, mode: Mode) -> Result<Tensor> {
        let (n, c, h, w) = inputs.dims4()?;
        if [c, h, w] != self.input {
            let [ec, eh, ew] = self.input;
            return Err(Error::Config(format!(
                "images are {c}x{h}x{w} but the encoder was built for {ec}x{eh}x{ew}: resize them or rebuild it"
            )));
        }
        let mut x = inputs.clone();
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        let features = x.reshape((n, x.elem_count() / n.max(1)))?;
        Ok(match &self.head {
            Some((weight, bias)) => features.matmul(&weight.t()?)?.broadcast_add(bias)?,
            None => features,
        })
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.named().filter(|(n, _)| !n.contains("running")).map(|(n, v)| (n, v.clone())).collect()
    }

    fn buffers(&self) -> Vec<(String, Var)> {
        self.named().filter(|(n, _)| n.contains("running")).map(|(n, v)| (n, v.clone())).collect()
    }
}
