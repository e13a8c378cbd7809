//! Conv-4: four blocks of 3×3 convolution, batch norm, ReLU and 2×2 max-pooling.
//!
//! The backbone of Matching and Prototypical Networks (Vinyals et al. 2016; Snell et al. 2017, §3.1). For 28×28
//! images the flattened output is 64-d. The convolutions have no bias: batch norm would cancel it.

use crate::backbone::{Backbone, Features};
use crate::layer::{BatchNorm, Conv, Scope, Start};
use crate::ops::Window;
use crate::{Error, Input, Mode, Result};
use serde::{Deserialize, Serialize};

const BLOCKS: usize = 4;

/// Shape of a Conv-4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv4Config {
    /// Filters of each block. Default 64.
    pub filters: usize,
}

impl Default for Conv4Config {
    fn default() -> Self {
        Self { filters: 64 }
    }
}

/// The four-block convolutional network.
pub(crate) struct Conv4 {
    blocks: Vec<(Conv, BatchNorm)>,
    input: [usize; 3],
    channels: usize,
}

impl Conv4 {
    /// Builds the network for images of shape `input` (`[c, h, w]`).
    ///
    /// # Errors
    /// When the images are smaller than 16×16 (four poolings leave nothing) or `filters` is 0.
    pub(crate) fn new(scope: &Scope<'_>, config: &Conv4Config, input: [usize; 3]) -> Result<Self> {
        let [c, h, w] = input;
        if c == 0 || h < 16 || w < 16 || config.filters == 0 {
            return Err(Error::Config(format!(
                "conv4 with {} filters on {c}x{h}x{w} images: want filters of 1 or more and images of 16x16 or more",
                config.filters
            )));
        }
        let block = |i: usize| {
            let scope = scope.at(format!("block{i}"));
            let channels = [if i == 0 { c } else { config.filters }, config.filters];
            let conv = Conv::new(&scope.at("conv"), channels, 3, Window::same(3, 1), Start::Kaiming)?;
            Ok((conv, BatchNorm::new(&scope.at("norm"), config.filters)?))
        };
        let blocks = (0..BLOCKS).map(block).collect::<Result<Vec<_>>>()?;
        Ok(Self { blocks, input, channels: config.filters * (h >> BLOCKS) * (w >> BLOCKS) })
    }
}

impl Backbone for Conv4 {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let images = input.images_of("conv4", self.input)?;
        let mut x = images.clone();
        for (conv, norm) in &self.blocks {
            x = norm.relu_pool(&conv.forward(&x)?, mode)?;
        }
        Ok(Features::Vectors(x.reshape(((), self.channels))?))
    }

    fn channels(&self) -> usize {
        self.channels
    }
}
