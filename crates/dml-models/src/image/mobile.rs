//! Small networks for the edge, without their classifiers: MobileNetV2 (Sandler et al. 2018, table 2), MobileNetV3 (Howard et al.
//! 2019, tables 1 and 2) and EfficientNet-B0 (Tan & Le 2019, table 1).
//!
//! Names and details of torchvision's; timm's names are translated where weights are loaded. Training leaves out no blocks (stochastic
//! depth). candle-transformers' EfficientNet is not used: its norms know running statistics alone, so that it cannot be trained, it pads
//! as TensorFlow does, with ε = 1e-3, for which torchvision's weights were not made, and it gives classes and no features. It has no
//! MobileNetV2 or V3.

use super::conv_norm::ConvNorm;
use super::inverted_residual::{InvertedResidual, Shape};
use crate::backbone::{Backbone, Features};
use crate::layer::{Padding, Scope};
use crate::ops::{Activation, Window};
use crate::{Input, Mode, Result};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mobile {
    V2,
    V3Small,
    V3Large,
    EfficientNetB0,
}

/// A network of inverted residuals.
pub(crate) struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<InvertedResidual>,
    last: ConvNorm,
    activation: Activation,
    channels: usize,
}

impl MobileNet {
    pub(crate) fn new(scope: &Scope<'_>, which: Mobile, padding: Padding, c_in: usize) -> Result<Self> {
        let features = scope.at("features");
        let (first, activation, norm) = match which {
            Mobile::V2 => (32, Activation::Relu6, [1e-5, 0.1]),
            Mobile::V3Small | Mobile::V3Large => (16, Activation::HardSwish, [1e-3, 0.01]),
            Mobile::EfficientNetB0 => (32, Activation::Silu, [1e-5, 0.1]),
        };
        let pair = |place: usize, channels, k, window| -> Result<ConvNorm> {
            let layer = ConvNorm::new(&features.at(place), ["0", "1"], channels, k, window)?;
            Ok(layer.with(norm[0], norm[1]))
        };
        let stem = pair(0, [c_in, first], 3, Window::same(3, 2))?.padded(padding);
        let mut blocks = Vec::new();
        let mut c = first;
        let stages = stages(which, norm);
        let places = match which {
            Mobile::EfficientNetB0 => stages.len(),
            _ => stages.iter().map(Vec::len).sum(),
        };
        for (stage, of_stage) in stages.into_iter().enumerate() {
            for (i, shape) in of_stage.into_iter().enumerate() {
                let at = match which {
                    // A list of lists.
                    Mobile::EfficientNetB0 => features.at(stage + 1).at(i).at("block"),
                    Mobile::V2 => features.at(blocks.len() + 1).at("conv"),
                    Mobile::V3Small | Mobile::V3Large => features.at(blocks.len() + 1).at("block"),
                };
                blocks.push(InvertedResidual::new(&at, shape, padding)?);
                c = shape.c_out;
            }
        }
        let channels = match which {
            Mobile::V2 | Mobile::EfficientNetB0 => 1280,
            Mobile::V3Small | Mobile::V3Large => 6 * c,
        };
        let last = pair(places + 1, [c, channels], 1, Window::default())?;
        Ok(Self { stem, blocks, last, activation, channels })
    }
}

/// The blocks of each stage.
fn stages(which: Mobile, norm: [f64; 2]) -> Vec<Vec<Shape>> {
    match which {
        Mobile::V2 => {
            // Expansion, channels, blocks, stride.
            let table = [
                [1, 16, 1, 1],
                [6, 24, 2, 2],
                [6, 32, 3, 2],
                [6, 64, 4, 2],
                [6, 96, 3, 1],
                [6, 160, 3, 2],
                [6, 320, 1, 1],
            ];
            let shape = |c_in, wide, c_out, stride| Shape {
                c_in,
                wide,
                c_out,
                k: 3,
                stride,
                activation: Activation::Relu6,
                gate: None,
                norm,
                flat_end: true,
            };
            repeated(32, &table.map(|[t, c, n, s]| ([t, 3, s], c, n)), |c_in, [t, _, stride], c_out| {
                shape(c_in, t * c_in, c_out, stride)
            })
        }
        Mobile::EfficientNetB0 => {
            // Expansion, kernel, stride; channels; blocks.
            let table = [
                ([1, 3, 1], 16, 1),
                ([6, 3, 2], 24, 2),
                ([6, 5, 2], 40, 2),
                ([6, 3, 2], 80, 3),
                ([6, 5, 1], 112, 3),
                ([6, 5, 2], 192, 4),
                ([6, 3, 1], 320, 1),
            ];
            repeated(32, &table, |c_in, [t, k, stride], c_out| Shape {
                c_in,
                wide: t * c_in,
                c_out,
                k,
                stride,
                activation: Activation::Silu,
                gate: Some(((c_in / 4).max(1), [Activation::Silu, Activation::Sigmoid])),
                norm,
                flat_end: false,
            })
        }
        Mobile::V3Large => vec![v3(&LARGE, norm)],
        Mobile::V3Small => vec![v3(&SMALL, norm)],
    }
}

/// Stages of blocks of which only the first changes size.
fn repeated(
    first: usize,
    table: &[([usize; 3], usize, usize)],
    shape: impl Fn(usize, [usize; 3], usize) -> Shape,
) -> Vec<Vec<Shape>> {
    let mut c_in = first;
    let stage = |&([t, k, s], c, n): &([usize; 3], usize, usize)| {
        let block = |i: usize| {
            let made = shape(c_in, [t, k, if i == 0 { s } else { 1 }], c);
            c_in = c;
            made
        };
        (0..n).map(block).collect()
    };
    table.iter().map(stage).collect()
}

/// In, kernel, middle, out, stride; whether there is a gate; whether the activation is hard-swish and not ReLU.
type Row = ([usize; 5], bool, bool);

const LARGE: [Row; 15] = [
    ([16, 3, 16, 16, 1], false, false),
    ([16, 3, 64, 24, 2], false, false),
    ([24, 3, 72, 24, 1], false, false),
    ([24, 5, 72, 40, 2], true, false),
    ([40, 5, 120, 40, 1], true, false),
    ([40, 5, 120, 40, 1], true, false),
    ([40, 3, 240, 80, 2], false, true),
    ([80, 3, 200, 80, 1], false, true),
    ([80, 3, 184, 80, 1], false, true),
    ([80, 3, 184, 80, 1], false, true),
    ([80, 3, 480, 112, 1], true, true),
    ([112, 3, 672, 112, 1], true, true),
    ([112, 5, 672, 160, 2], true, true),
    ([160, 5, 960, 160, 1], true, true),
    ([160, 5, 960, 160, 1], true, true),
];

const SMALL: [Row; 11] = [
    ([16, 3, 16, 16, 2], true, false),
    ([16, 3, 72, 24, 2], false, false),
    ([24, 3, 88, 24, 1], false, false),
    ([24, 5, 96, 40, 2], true, true),
    ([40, 5, 240, 40, 1], true, true),
    ([40, 5, 240, 40, 1], true, true),
    ([40, 5, 120, 48, 1], true, true),
    ([48, 5, 144, 48, 1], true, true),
    ([48, 5, 288, 96, 2], true, true),
    ([96, 5, 576, 96, 1], true, true),
    ([96, 5, 576, 96, 1], true, true),
];

fn v3(table: &[Row], norm: [f64; 2]) -> Vec<Shape> {
    let shape = |&([c_in, k, wide, c_out, stride], gated, swish): &Row| Shape {
        c_in,
        wide,
        c_out,
        k,
        stride,
        activation: if swish { Activation::HardSwish } else { Activation::Relu },
        gate: gated.then(|| (divisible(wide), [Activation::Relu, Activation::HardSigmoid])),
        norm,
        flat_end: false,
    };
    table.iter().map(shape).collect()
}

/// A quarter, rounded to a multiple of 8 that is not below nine tenths of it.
fn divisible(wide: usize) -> usize {
    let quarter = wide / 4;
    let rounded = ((quarter + 4) / 8 * 8).max(8);
    if 10 * rounded < 9 * quarter { rounded + 8 } else { rounded }
}

impl Backbone for MobileNet {
    fn features(&self, input: &Input, mode: Mode) -> Result<Features> {
        let mut x = self.stem.forward(input.images("mobilenet")?, mode, self.activation)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(Features::Map(self.last.forward(&x, mode, self.activation)?))
    }

    fn channels(&self) -> usize {
        self.channels
    }
}
