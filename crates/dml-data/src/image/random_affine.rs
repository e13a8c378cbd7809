//! Random rotation, shift, scale and shear.

use super::Fill;
use super::transform::{Transform, is_range, rule, uniform};
use super::warp::{Sampling, center, inverse_affine, warp};
use crate::{Image, Result};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// torchvision's `RandomAffine` on Pillow images; sides stay. The default changes nothing.
///
/// With `degrees` only it is `RandomRotation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomAffine {
    /// Turn by an angle uniform in ± this.
    pub degrees: f64,
    /// Move along x and y by whole pixels, uniform in ± this share of the side.
    pub translate: [f64; 2],
    /// Range of the factor; `[1.0, 1.0]` by default.
    pub scale: [f64; 2],
    /// Slant along x and y by an angle uniform in ± these degrees.
    pub shear: [f64; 2],
    /// Nearest by default, as in torchvision; bilinear looks better.
    pub sampling: Sampling,
    /// What lies outside the image.
    pub fill: Fill,
}

impl Default for RandomAffine {
    fn default() -> Self {
        Self {
            degrees: 0.0,
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear: [0.0; 2],
            sampling: Sampling::default(),
            fill: Fill::default(),
        }
    }
}

impl Transform for RandomAffine {
    fn check(&self) -> Result<(), String> {
        rule((0.0..=180.0).contains(&self.degrees), "degrees", self.degrees, "degrees in 0..=180")?;
        let shares = self.translate.iter().all(|share| (0.0..=1.0).contains(share));
        rule(shares, "translate", self.translate, "shares of width and height in 0..=1")?;
        rule(is_range(self.scale, 1e-3, 1e3), "scale", self.scale, "factors in 0.001..=1000, the smaller first")?;
        let slants = self.shear.iter().all(|shear| (0.0..=60.0).contains(shear));
        rule(slants, "shear", self.shear, "degrees along x and y in 0..=60")
    }

    fn apply(&self, image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        let mut within = |amount: f64| uniform(rng, [-amount, amount]);
        let angle = within(self.degrees);
        let [share_x, share_y] = self.translate;
        let translate =
            [share_x * image.width as f64, share_y * image.height as f64].map(|most| within(most).round_ties_even());
        let shear = self.shear.map(&mut within);
        let scale = uniform(rng, self.scale);
        let matrix = inverse_affine(center(&image), angle, translate, scale, shear);
        Ok(warp(&image, matrix, self.sampling, self.fill))
    }
}
