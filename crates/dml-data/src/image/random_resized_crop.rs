//! A crop of random size and shape, scaled to one size: the augmentation of most papers.

use super::resize::Scaling;
use super::transform::{Transform, above_zero, is_range, log_uniform, rule, uniform};
use super::{Extent, Filter, Region, resample_region};
use crate::{Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Draws before the fall-back.
const TRIES: usize = 10;

/// torchvision's `RandomResizedCrop`, after Szegedy et al., 2015, "Going Deeper with Convolutions".
///
/// The area is uniform in `scale`, the ratio log-uniform in `ratio`. After ten draws that do not fit the image, the
/// largest centred crop whose ratio is within `ratio` is taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Of the result.
    pub size: Extent,
    /// Share of the image's area; `[0.08, 1.0]` by default.
    #[serde(default = "default_scale")]
    pub scale: [f64; 2],
    /// Width over height; `[3/4, 4/3]` by default.
    #[serde(default = "default_ratio")]
    pub ratio: [f64; 2],
    /// Bilinear by default.
    #[serde(default)]
    pub filter: Filter,
}

fn default_scale() -> [f64; 2] {
    [0.08, 1.0]
}

fn default_ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

impl From<Extent> for RandomResizedCrop {
    fn from(size: Extent) -> Self {
        Self { size, scale: default_scale(), ratio: default_ratio(), filter: Filter::default() }
    }
}

impl RandomResizedCrop {
    /// The part of an image of `[height, width]` to scale.
    pub fn draw(&self, [height, width]: [usize; 2], rng: &mut ChaCha8Rng) -> Region {
        let area = (height * width) as f64;
        for _ in 0..TRIES {
            let area = area * uniform(rng, self.scale);
            let ratio = log_uniform(rng, self.ratio);
            let [wide, high] = [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even() as usize);
            if (1..=width).contains(&wide) && (1..=height).contains(&high) {
                let top = rng.random_range(0..=(height - high) as u64) as usize;
                let left = rng.random_range(0..=(width - wide) as u64) as usize;
                return Region { left, top, width: wide, height: high };
            }
        }
        let (ratio, [narrowest, widest]) = (width as f64 / height as f64, self.ratio);
        let side = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most.max(1));
        let (wide, high) = if ratio < narrowest {
            (width, side(width as f64 / narrowest, height))
        } else if ratio > widest {
            (side(height as f64 * widest, width), height)
        } else {
            (width, height)
        };
        Region { left: width.saturating_sub(wide) / 2, top: height.saturating_sub(high) / 2, width: wide, height: high }
    }
}

impl Transform for RandomResizedCrop {
    fn check(&self) -> Result<(), String> {
        above_zero("size", &self.size.sides())?;
        let scale = is_range(self.scale, f64::MIN_POSITIVE, 1.0);
        rule(scale, "scale", self.scale, "shares above 0 and at most 1, the smaller first")?;
        let ratio = is_range(self.ratio, 1e-3, 1e3);
        rule(ratio, "ratio", self.ratio, "ratios of width to height in 0.001..=1000, the smaller first")
    }

    fn sides(&self, _: Option<[usize; 2]>) -> Option<[usize; 2]> {
        Some(self.size.sides())
    }

    fn scaling(&self, before: [usize; 2], rng: &mut ChaCha8Rng) -> Option<Scaling> {
        Some(Scaling { region: self.draw(before, rng), sides: self.size.sides(), filter: self.filter })
    }

    fn apply(&self, image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        let region = self.draw([image.height, image.width], rng);
        resample_region(&image, region, self.size.sides(), self.filter)
    }
}
