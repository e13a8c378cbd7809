//! Random erasing of a rectangle, after Zhong et al., 2020, "Random Erasing Data Augmentation".

use super::Fill;
use super::transform::{Transform, happens, is_range, log_uniform, probability, rule, uniform};
use crate::{Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Draws before the image is left as it is.
const TRIES: usize = 10;

/// torchvision's `RandomErasing`, of values before the normalisation.
///
/// torchvision erases after it, with 0, which is the mean colour here: for ImageNet's mean `value = [124, 116, 104]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomErasing {
    /// How often; 0.5 by default.
    pub probability: f64,
    /// Share of the image's area; `[0.02, 0.33]` by default.
    pub scale: [f64; 2],
    /// Height over width; `[0.3, 3.3]` by default.
    pub ratio: [f64; 2],
    /// What the rectangle is filled with; without it noise, uniform in 0..=255.
    pub value: Option<Fill>,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: None }
    }
}

impl Transform for RandomErasing {
    fn check(&self) -> Result<(), String> {
        probability("probability", self.probability)?;
        rule(is_range(self.scale, 0.0, 1.0), "scale", self.scale, "shares in 0..=1, the smaller first")?;
        let ratio = is_range(self.ratio, 1e-3, 1e3);
        rule(ratio, "ratio", self.ratio, "ratios of height to width in 0.001..=1000, the smaller first")
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if !happens(rng, self.probability) {
            return Ok(image);
        }
        let (width, height, channels) = (image.width, image.height, image.channels);
        for _ in 0..TRIES {
            let area = (height * width) as f64 * uniform(rng, self.scale);
            let ratio = log_uniform(rng, self.ratio);
            let [rows, columns] = [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even() as usize);
            if rows >= height || columns >= width {
                continue;
            }
            let top = rng.random_range(0..=(height - rows) as u64) as usize;
            let left = rng.random_range(0..=(width - columns) as u64) as usize;
            let fill = self.value.map(|fill| fill.pixel(channels));
            for y in top..top + rows {
                let start = (y * width + left) * channels;
                for pixel in image.pixels[start..start + columns * channels].chunks_exact_mut(channels) {
                    match &fill {
                        Some(fill) => pixel.copy_from_slice(fill),
                        None => rng.fill(pixel),
                    }
                }
            }
            break;
        }
        Ok(image)
    }
}
