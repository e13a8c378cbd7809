//! RandAugment: a few operations drawn from fourteen, all of one strength.

use super::transform::{Transform, rule};
use super::warp::{Sampling, center, inverse_affine, rotate, warp};
use super::{Fill, enhance, tone};
use crate::{Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Steps of the strength: magnitude 30 is the strongest.
const STRONGEST: u32 = 30;

/// Cubuk et al., 2020, "RandAugment: Practical automated data augmentation with a reduced search space";
/// torchvision's `RandAugment` on Pillow images with its 31 bins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Operations one after the other; 2 by default.
    pub ops: u32,
    /// Strength in 0..=30; 9 by default.
    pub magnitude: u32,
    /// How turned and slanted images are read; nearest by default.
    pub sampling: Sampling,
    /// What they leave empty.
    pub fill: Fill,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { ops: 2, magnitude: 9, sampling: Sampling::default(), fill: Fill::default() }
    }
}

/// One of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Op {
    /// All of them, in torchvision's order.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether the strength has a direction.
    fn signed(self) -> bool {
        !matches!(self, Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize)
    }

    /// Applies the operation with the strength `magnitude` of 30, in the other direction when `negative`.
    pub fn apply(self, mut image: Image, magnitude: u32, negative: bool, sampling: Sampling, fill: Fill) -> Image {
        let share = f64::from(magnitude.min(STRONGEST)) / f64::from(STRONGEST);
        let sign = if negative && self.signed() { -1.0 } else { 1.0 };
        // Shears are around the corner, moves by whole pixels.
        let slant = (sign * 0.3 * share).atan().to_degrees();
        let shear =
            |image: &Image, shear| warp(image, inverse_affine([0.0; 2], 0.0, [0.0; 2], 1.0, shear), sampling, fill);
        let distance = |side: usize| (sign * 150.0 / 331.0 * side as f64 * share).trunc();
        let translate =
            |image: &Image, by| warp(image, inverse_affine(center(image), 0.0, by, 1.0, [0.0; 2]), sampling, fill);
        let factor = (1.0 + sign * 0.9 * share) as f32;
        match self {
            Self::Identity => {}
            Self::ShearX => image = shear(&image, [slant, 0.0]),
            Self::ShearY => image = shear(&image, [0.0, slant]),
            Self::TranslateX => image = translate(&image, [distance(image.width), 0.0]),
            Self::TranslateY => image = translate(&image, [0.0, distance(image.height)]),
            Self::Rotate => image = rotate(&image, sign * 30.0 * share, sampling, fill),
            Self::Brightness => enhance::brightness(&mut image, factor),
            Self::Color => enhance::saturation(&mut image, factor),
            Self::Contrast => enhance::contrast(&mut image, factor),
            Self::Sharpness => enhance::sharpness(&mut image, factor),
            Self::Posterize => tone::posterize(&mut image, 8 - (4.0 * share).round_ties_even() as u32),
            Self::Solarize => tone::solarize(&mut image, 255.0 * (1.0 - share)),
            Self::AutoContrast => tone::autocontrast(&mut image),
            Self::Equalize => tone::equalize(&mut image),
        }
        image
    }
}

impl Transform for RandAugment {
    fn check(&self) -> Result<(), String> {
        rule(self.ops <= 16, "ops", self.ops, "at most 16 operations")?;
        rule(self.magnitude <= STRONGEST, "magnitude", self.magnitude, "a strength in 0..=30")
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        for _ in 0..self.ops {
            let op = Op::ALL[rng.random_range(0..Op::ALL.len() as u64) as usize];
            let negative = op.signed() && rng.random();
            image = op.apply(image, self.magnitude, negative, self.sampling, self.fill);
        }
        Ok(image)
    }
}
