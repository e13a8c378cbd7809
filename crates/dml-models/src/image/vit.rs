//! Vision transformers (Dosovitskiy et al., *An Image is Worth 16x16 Words*, 2021), without the classifier.
//!
//! Names and details of timm's `vit_*`: norms before attention and MLP, ε = 1e-6, exact GELU. DINO's ViT-S/16 is the same network;
//! DINOv2's has scales of its residual branches and may have register tokens; CLIP's has a norm after the embedding, no bias in its
//! patches, QuickGELU (open_clip's own mostly have the exact GELU), ε = 1e-5 and a projection without bias. candle-transformers' cannot be trained: its norms and attention have
//! no gradient.

use crate::backbone::{Backbone, Features};
use crate::layer::{LayerNorm, Linear, Scope, Start};
use crate::ops::{Activation, Attended, add, attention};
use crate::weights::{Grid, Parameter};
use crate::{Error, Input, Mode, Result};
use candle_core::{IndexOp, Tensor};
use serde::{Deserialize, Serialize};

/// Shape of a vision transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VitConfig {
    /// Side of a patch, pixels. Default 16.
    pub patch: usize,
    /// Numbers of a token. Default 384.
    pub dim: usize,
    /// Blocks. Default 12.
    pub depth: usize,
    /// Parts of an attention. Default 6.
    pub heads: usize,
    /// Numbers of the hidden layer of a block's MLP. Default 1536.
    pub mlp: usize,
    /// Tokens that are neither class nor patch (Darcet et al., *Vision Transformers Need Registers*, 2024). Default 0.
    pub registers: usize,
    /// Whether each residual branch is scaled by learned numbers (Touvron et al., *Going deeper with Image Transformers*, 2021,
    /// eq. 2), as in DINOv2. Default false.
    pub layer_scale: bool,
    /// Whether it is built as CLIP's: see the module. Default false.
    pub clip: bool,
    /// Whether a CLIP has the exact GELU, as those that open_clip trained on LAION do, and not OpenAI's QuickGELU. Default false.
    pub exact_gelu: bool,
    /// Length of CLIP's projection; 0 (default): none.
    pub projection: usize,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            patch: 16,
            dim: 384,
            depth: 12,
            heads: 6,
            mlp: 1536,
            registers: 0,
            layer_scale: false,
            clip: false,
            exact_gelu: false,
            projection: 0,
        }
    }
}

impl VitConfig {
    fn check(&self, [c, h, w]: [usize; 3]) -> Result<()> {
        let wrong = |problem: String| Err(Error::Config(format!("vit: {problem}")));
        let sizes = [
            ("patch", self.patch),
            ("dim", self.dim),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp", self.mlp),
            ("number of channels", c),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return wrong(format!("{name} is 0: want 1 or more"));
        }
        if !self.dim.is_multiple_of(self.heads) {
            return wrong(format!("dim {} is no multiple of heads {}: change one of them", self.dim, self.heads));
        }
        if h < self.patch || w < self.patch || !h.is_multiple_of(self.patch) || !w.is_multiple_of(self.patch) {
            return wrong(format!(
                "images of {h}x{w} are no whole patches of {0}x{0}: resize or crop them",
                self.patch
            ));
        }
        Ok(())
    }

    fn epsilon(&self) -> f64 {
        if self.clip { 1e-5 } else { 1e-6 }
    }
}

struct Block {
    norms: [LayerNorm; 2],
    qkv: Linear,
    projection: Linear,
    mlp: [Linear; 2],
    scales: Option<[Parameter; 2]>,
    heads: usize,
    activation: Activation,
}

impl Block {
    fn new(scope: &Scope<'_>, config: &VitConfig) -> Result<Self> {
        let (d, start) = (config.dim, Start::Normal(0.02));
        let scale = |name: &str| scope.at(name).parameter("gamma", &[d], Start::Value(1e-5));
        Ok(Self {
            norms: [
                LayerNorm::new(&scope.at("norm1"), d, config.epsilon())?,
                LayerNorm::new(&scope.at("norm2"), d, config.epsilon())?,
            ],
            qkv: Linear::new(&scope.at("attn.qkv"), [d, 3 * d], start)?,
            projection: Linear::new(&scope.at("attn.proj"), [d, d], start)?,
            mlp: [
                Linear::new(&scope.at("mlp.fc1"), [d, config.mlp], start)?,
                Linear::new(&scope.at("mlp.fc2"), [config.mlp, d], start)?,
            ],
            scales: if config.layer_scale { Some([scale("ls1")?, scale("ls2")?]) } else { None },
            heads: config.heads,
            activation: if config.clip && !config.exact_gelu { Activation::QuickGelu } else { Activation::Gelu },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norms[0].forward(x)?)?;
        let attended = self.projection.forward(&attention(&qkv, self.heads, &Attended::default())?)?;
        let x = add(x, &self.scaled(attended, 0)?)?;
        let hidden = self.activation.apply(&self.mlp[0].forward(&self.norms[1].forward(&x)?)?)?;
        Ok(add(&x, &self.scaled(self.mlp[1].forward(&hidden)?, 1)?)?)
    }

    fn scaled(&self, branch: Tensor, which: usize) -> Result<Tensor> {
        Ok(match &self.scales {
            Some(scales) => branch.broadcast_mul(&scales[which].tensor())?,
            None => branch,
        })
    }
}

/// A vision transformer.
pub(crate) struct Vit {
    config: VitConfig,
    input: [usize; 3],
    class: Parameter,
    registers: Option<Parameter>,
    positions: Parameter,
    patches: Patches,
    before: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Option<Linear>,
}

impl Vit {
    /// A transformer for images of the shape `input` (`[c, h, w]`).
    pub(crate) fn new(scope: &Scope<'_>, config: &VitConfig, input: [usize; 3]) -> Result<Self> {
        config.check(input)?;
        let [c, h, w] = input;
        let (d, start) = (config.dim, Start::Normal(0.02));
        // With registers neither they nor the class token have a place, as in timm.
        let before = usize::from(config.registers == 0 || config.clip);
        let grid = Grid { before, rows: h / config.patch, columns: w / config.patch };
        let norm = |name: &str| LayerNorm::new(&scope.at(name), d, config.epsilon());
        let registers = match config.registers {
            0 => None,
            n => Some(scope.parameter("reg_token", &[1, n, d], start)?),
        };
        Ok(Self {
            input,
            class: scope.parameter("cls_token", &[1, 1, d], start)?,
            registers,
            positions: scope.places("pos_embed", grid, d, start)?,
            patches: Patches::new(&scope.at("patch_embed.proj"), [c, d], config.patch, !config.clip)?,
            before: config.clip.then(|| norm("norm_pre")).transpose()?,
            blocks: (0..config.depth).map(|i| Block::new(&scope.at("blocks").at(i), config)).collect::<Result<_>>()?,
            norm: norm("norm")?,
            projection: match config.projection {
                0 => None,
                to => Some(Linear::unbiased(&scope.at("projection"), [d, to], Start::FanIn)?),
            },
            config: config.clone(),
        })
    }

    /// Class, registers and patches, with their places.
    fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        let n = images.dim(0)?;
        let d = self.config.dim;
        let patches = self.patches.forward(images)?;
        let class = self.class.tensor().broadcast_as((n, 1, d))?;
        let positions = self.positions.tensor();
        let Some(registers) = &self.registers else {
            return Ok(Tensor::cat(&[class, patches], 1)?.broadcast_add(&positions)?);
        };
        let registers = registers.tensor().broadcast_as((n, self.config.registers, d))?;
        if positions.dim(1)? == patches.dim(1)? {
            let patches = patches.broadcast_add(&positions)?;
            return Ok(Tensor::cat(&[class, registers, patches], 1)?);
        }
        let placed = Tensor::cat(&[class, patches], 1)?.broadcast_add(&positions)?;
        Ok(Tensor::cat(&[placed.i((.., ..1))?, registers, placed.i((.., 1..))?], 1)?)
    }

    /// 1 where a token is of a patch and 0 where it is class or register, `[n, t]`.
    fn where_patches(&self, tokens: &Tensor) -> Result<Tensor> {
        let (n, t, _) = tokens.dims3()?;
        let before = 1 + self.config.registers;
        let row: Vec<f32> = (0..t).map(|place| if place < before { 0.0 } else { 1.0 }).collect();
        Ok(Tensor::from_vec(row, (1, t), tokens.device())?.broadcast_as((n, t))?.contiguous()?)
    }
}

impl Backbone for Vit {
    fn features(&self, input: &Input, _mode: Mode) -> Result<Features> {
        let images = input.images_of("vit", self.input)?;
        let mut x = self.tokens(images)?;
        if let Some(norm) = &self.before {
            x = norm.forward(&x)?;
        }
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        x = self.norm.forward(&x)?;
        if let Some(projection) = &self.projection {
            x = projection.forward(&x)?;
        }
        let mask = self.where_patches(&x)?;
        Ok(Features::Tokens { values: x, mask: Some(mask) })
    }

    fn channels(&self) -> usize {
        if self.config.projection > 0 { self.config.projection } else { self.config.dim }
    }
}

/// Patches as tokens: a convolution whose stride is its side, as one product.
struct Patches {
    weight: Parameter,
    bias: Option<Parameter>,
    side: usize,
}

impl Patches {
    fn new(scope: &Scope<'_>, [c, d]: [usize; 2], side: usize, biased: bool) -> Result<Self> {
        let weight = scope.parameter("weight", &[d, c, side, side], Start::FanIn)?;
        let bias = biased.then(|| scope.parameter("bias", &[d], Start::Zeros)).transpose()?;
        Ok(Self { weight, bias, side })
    }

    /// `[n, places, d]`.
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = images.dims4()?;
        let s = self.side;
        let patches = images.reshape(vec![n, c, h / s, s, w / s, s])?.permute(vec![0, 2, 4, 1, 3, 5])?.contiguous()?;
        let rows = patches.reshape((n, (h / s) * (w / s), c * s * s))?;
        let bias = self.bias.as_ref().map(Parameter::tensor);
        Ok(crate::ops::linear(&rows, &self.weight.tensor().flatten_from(1)?, bias.as_ref())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_is_wrong_is_named() {
        let whole = VitConfig::default();
        let message = |config: VitConfig, input| config.check(input).unwrap_err().to_string();
        for (config, input, part) in [
            (VitConfig { patch: 0, ..whole.clone() }, [3, 32, 32], "vit: patch is 0"),
            (VitConfig { depth: 0, ..whole.clone() }, [3, 32, 32], "vit: depth is 0"),
            (VitConfig { mlp: 0, ..whole.clone() }, [3, 32, 32], "vit: mlp is 0"),
            (whole.clone(), [0, 32, 32], "number of channels is 0"),
            (VitConfig { dim: 100, ..whole.clone() }, [3, 32, 32], "dim 100 is no multiple of heads 6"),
            (whole.clone(), [3, 32, 40], "images of 32x40"),
        ] {
            let message = message(config, input);
            assert!(message.contains(part) && !message.contains("size of 0"), "{message}");
        }
        whole.check([3, 32, 48]).unwrap();
    }
}
