//! Random changes that keep the class: what the network must learn to ignore.

use super::affine::{Affine, warp};
use super::color::Jitter;
use super::elastic::Displacement;
use super::erase::erase;
use crate::{Error, Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Random augmentation of one image; the default changes nothing.
///
/// Drawn per image by its [`Draw`](crate::Draw), so it does not depend on threads or on restarts.
/// Geometry (one bilinear read of the source), then colour, then erasing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Turn by an angle uniform in ± this many degrees.
    pub rotate: f32,
    /// Scale by a factor uniform in this range, e.g. `[0.9, 1.1]`.
    pub scale: [f32; 2],
    /// Slant along x by an angle uniform in ± this many degrees.
    pub shear: f32,
    /// Move along each axis by a distance uniform in ± this share of the side.
    pub translate: f32,
    /// Probability of mirroring left and right.
    pub horizontal_flip: f32,
    /// Bend smoothly: displacements of a 5×5 grid uniform in ± this share of the side.
    pub elastic: f32,
    /// What lies outside the image, 0..=255; without it the nearest border pixel is repeated.
    pub fill: Option<u8>,
    /// Brightness factor uniform in 1 ± this.
    pub brightness: f32,
    /// Contrast factor uniform in 1 ± this.
    pub contrast: f32,
    /// Saturation factor uniform in 1 ± this (colour images).
    pub saturation: f32,
    /// Probability of overwriting a rectangle with noise.
    pub erase: f32,
    /// Share of the image that is overwritten, uniform in this range.
    pub erase_area: [f32; 2],
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            rotate: 0.0,
            scale: [1.0, 1.0],
            shear: 0.0,
            translate: 0.0,
            horizontal_flip: 0.0,
            elastic: 0.0,
            fill: None,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            erase: 0.0,
            erase_area: [0.02, 0.2],
        }
    }
}

impl Augment {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn check(&self) -> Result<()> {
        let [low, high] = self.scale;
        let [least, most] = self.erase_area;
        let rules = [
            ("rotate", self.rotate, (0.0..=180.0).contains(&self.rotate), "degrees in 0..=180"),
            ("scale", low, low > 0.0 && low.is_finite(), "factors above 0"),
            ("scale", high, high >= low && high.is_finite(), "a range whose end is not below its start"),
            ("shear", self.shear, (0.0..=60.0).contains(&self.shear), "degrees in 0..=60"),
            ("translate", self.translate, (0.0..=1.0).contains(&self.translate), "a share in 0..=1"),
            (
                "horizontal_flip",
                self.horizontal_flip,
                (0.0..=1.0).contains(&self.horizontal_flip),
                "a probability in 0..=1",
            ),
            ("elastic", self.elastic, (0.0..=1.0).contains(&self.elastic), "a share in 0..=1"),
            ("brightness", self.brightness, (0.0..=1.0).contains(&self.brightness), "a number in 0..=1"),
            ("contrast", self.contrast, (0.0..=1.0).contains(&self.contrast), "a number in 0..=1"),
            ("saturation", self.saturation, (0.0..=1.0).contains(&self.saturation), "a number in 0..=1"),
            ("erase", self.erase, (0.0..=1.0).contains(&self.erase), "a probability in 0..=1"),
            ("erase_area", least, least > 0.0 && least <= 1.0, "shares above 0 and at most 1"),
            ("erase_area", most, (least..=1.0).contains(&most), "a range whose end is not below its start"),
        ];
        match rules.iter().find(|(_, _, fits, _)| !fits) {
            Some((key, value, _, range)) => Err(Error::Invalid(format!("augment.{key} = {value}: give {range}"))),
            None => Ok(()),
        }
    }

    /// Writes an augmented `image` to `out` (CHW, 0..=255); `out` has `image.pixels.len()` values.
    pub(crate) fn apply(&self, image: &Image, rng: &mut ChaCha8Rng, out: &mut [f32]) {
        if self.moves() {
            let affine = self.draw_affine(image, rng);
            let amplitude = self.elastic * image.width.min(image.height) as f32;
            let displacement =
                (amplitude > 0.0).then(|| Displacement::random(rng, amplitude, image.width, image.height));
            warp(image, &affine, displacement.as_ref(), self.fill, out);
        } else {
            planes(image, out);
        }
        if self.colours() {
            let jitter = Jitter {
                brightness: 1.0 + symmetric(rng, self.brightness),
                contrast: 1.0 + symmetric(rng, self.contrast),
                saturation: 1.0 + symmetric(rng, self.saturation),
            };
            jitter.apply(out, image.channels);
        }
        if rng.random::<f32>() < self.erase {
            let area = rng.random_range(self.erase_area[0]..=self.erase_area[1]);
            erase(out, image.shape(), area, rng);
        }
    }

    /// Whether an image may come out as another.
    pub(crate) fn changes(&self) -> bool {
        self.moves() || self.colours() || self.erase > 0.0
    }

    fn colours(&self) -> bool {
        self.brightness > 0.0 || self.contrast > 0.0 || self.saturation > 0.0
    }

    fn moves(&self) -> bool {
        let still = [self.rotate, self.shear, self.translate, self.horizontal_flip, self.elastic];
        self.scale != [1.0, 1.0] || still.iter().any(|&amount| amount != 0.0)
    }

    fn draw_affine(&self, image: &Image, rng: &mut ChaCha8Rng) -> Affine {
        let angle = symmetric(rng, self.rotate).to_radians();
        let scale = rng.random_range(self.scale[0]..=self.scale[1]);
        let shear = symmetric(rng, self.shear).to_radians();
        let translate = [image.width, image.height].map(|side| symmetric(rng, self.translate) * side as f32);
        let mut affine = Affine::inverse_of(angle, scale, shear, translate);
        if rng.random::<f32>() < self.horizontal_flip {
            // The output column x reads what column −x would have read.
            affine.matrix[0] = -affine.matrix[0];
            affine.matrix[2] = -affine.matrix[2];
        }
        affine
    }
}

/// Uniform in ±`amount`.
fn symmetric(rng: &mut ChaCha8Rng, amount: f32) -> f32 {
    rng.random_range(-amount..=amount)
}

/// The values of `image` as they are, HWC to CHW.
pub(crate) fn planes(image: &Image, out: &mut [f32]) {
    let plane = image.width * image.height;
    for (at, pixel) in image.pixels.chunks_exact(image.channels).enumerate() {
        for (channel, &value) in pixel.iter().enumerate() {
            out[channel * plane + at] = f32::from(value);
        }
    }
}
