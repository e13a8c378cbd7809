//! Random brightness, contrast, saturation and hue, in random order.

use super::enhance;
use super::transform::{Transform, happens, probability, rule, uniform};
use crate::{Image, Result};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// torchvision's `ColorJitter` on Pillow images; the default changes nothing.
///
/// The four changes come in a random order, each with a factor of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// Factor uniform in 1 ± this, but not below 0.
    pub brightness: f64,
    /// Factor uniform in 1 ± this, but not below 0.
    pub contrast: f64,
    /// Factor uniform in 1 ± this, but not below 0.
    pub saturation: f64,
    /// Turn of the hue uniform in ± this, at most 0.5.
    pub hue: f64,
    /// How often; 1 by default, SimCLR takes 0.8.
    pub probability: f64,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, probability: 1.0 }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

impl Transform for ColorJitter {
    fn check(&self) -> Result<(), String> {
        for (key, amount) in
            [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)]
        {
            rule((0.0..=100.0).contains(&amount), key, amount, "a number in 0..=100")?;
        }
        rule((0.0..=0.5).contains(&self.hue), "hue", self.hue, "a number in 0..=0.5")?;
        probability("probability", self.probability)
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if !happens(rng, self.probability) {
            return Ok(image);
        }
        let mut order = [Change::Brightness, Change::Contrast, Change::Saturation, Change::Hue];
        order.shuffle(rng);
        let mut factor = |amount: f64| uniform(rng, [(1.0 - amount).max(0.0), 1.0 + amount]) as f32;
        let [brightness, contrast, saturation] = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let hue = uniform(rng, [-self.hue, self.hue]);
        for change in order {
            match change {
                Change::Brightness if self.brightness > 0.0 => enhance::brightness(&mut image, brightness),
                Change::Contrast if self.contrast > 0.0 => enhance::contrast(&mut image, contrast),
                Change::Saturation if self.saturation > 0.0 => enhance::saturation(&mut image, saturation),
                Change::Hue if self.hue > 0.0 => enhance::hue(&mut image, hue),
                _ => {}
            }
        }
        Ok(image)
    }
}

/// Turns an image grey, sometimes; the number of channels stays. torchvision's `RandomGrayscale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    /// How often.
    pub probability: f64,
}

impl From<f64> for Grayscale {
    fn from(probability: f64) -> Self {
        Self { probability }
    }
}

impl Transform for Grayscale {
    fn check(&self) -> Result<(), String> {
        probability("probability", self.probability)
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if happens(rng, self.probability) {
            enhance::grayscale(&mut image);
        }
        Ok(image)
    }
}
