//! Mirroring.

use super::transform::{Transform, happens, probability};
use crate::{Image, Result};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Mirrors left and right, sometimes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlip {
    /// How often.
    pub probability: f64,
}

/// Mirrors top and bottom, sometimes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerticalFlip {
    /// How often.
    pub probability: f64,
}

/// Mirrors `image` left and right.
pub fn flip_horizontal(image: &mut Image) {
    match image.channels {
        // A constant length, so that pixels are moved and not loops called.
        3 => reverse_rows::<3>(image),
        1 => reverse_rows::<1>(image),
        channels => {
            for row in image.pixels.chunks_exact_mut((image.width * channels).max(1)) {
                row.reverse();
                row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
            }
        }
    }
}

fn reverse_rows<const CHANNELS: usize>(image: &mut Image) {
    for row in image.pixels.chunks_exact_mut((image.width * CHANNELS).max(1)) {
        row.as_chunks_mut::<CHANNELS>().0.reverse();
    }
}

/// Mirrors `image` top and bottom.
pub fn flip_vertical(image: &mut Image) {
    let row = image.width * image.channels;
    let (upper, lower) = image.pixels.split_at_mut(image.height / 2 * row);
    for (above, below) in upper.chunks_exact_mut(row.max(1)).zip(lower.rchunks_exact_mut(row.max(1))) {
        above.swap_with_slice(below);
    }
}

impl From<f64> for HorizontalFlip {
    fn from(probability: f64) -> Self {
        Self { probability }
    }
}

impl Transform for HorizontalFlip {
    fn check(&self) -> Result<(), String> {
        probability("probability", self.probability)
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if happens(rng, self.probability) {
            flip_horizontal(&mut image);
        }
        Ok(image)
    }
}

impl From<f64> for VerticalFlip {
    fn from(probability: f64) -> Self {
        Self { probability }
    }
}

impl Transform for VerticalFlip {
    fn check(&self) -> Result<(), String> {
        probability("probability", self.probability)
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if happens(rng, self.probability) {
            flip_vertical(&mut image);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_move_and_their_channels_stay_together() {
        let mut image = Image::new(2, 3, 3, (0..18).collect()).unwrap();
        flip_horizontal(&mut image);
        assert_eq!(image.pixels, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 15, 16, 17, 12, 13, 14]);
        flip_vertical(&mut image);
        assert_eq!(image.pixels, [15, 16, 17, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]);
        let mut grey = Image::new(3, 1, 1, vec![1, 2, 3]).unwrap();
        flip_horizontal(&mut grey);
        assert_eq!(grey.pixels, [3, 2, 1]);
    }
}
