//! Gaussian blur.

use super::transform::{Transform, happens, is_range, probability, rule, uniform};
use crate::{Image, Result};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// torchvision's `GaussianBlur`; σ is uniform in `sigma`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianBlur {
    /// Pixels along each side of the kernel, odd. SimCLR takes a tenth of the image's side: 23 for 224.
    pub kernel: usize,
    /// Range of the standard deviation in pixels; `[0.1, 2.0]` by default.
    #[serde(default = "default_sigma")]
    pub sigma: [f64; 2],
    /// How often; 1 by default.
    #[serde(default = "always")]
    pub probability: f64,
}

fn default_sigma() -> [f64; 2] {
    [0.1, 2.0]
}

fn always() -> f64 {
    1.0
}

impl Transform for GaussianBlur {
    fn check(&self) -> Result<(), String> {
        let odd = self.kernel % 2 == 1 && self.kernel <= 255;
        rule(odd, "kernel", self.kernel, "an odd number of pixels, at most 255")?;
        rule(is_range(self.sigma, 1e-3, 1e3), "sigma", self.sigma, "pixels in 0.001..=1000, the smaller first")?;
        probability("probability", self.probability)
    }

    fn apply(&self, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        if happens(rng, self.probability) {
            let sigma = uniform(rng, self.sigma);
            gaussian_blur(&mut image, self.kernel, sigma);
        }
        Ok(image)
    }
}

/// Convolves `image` with a Gaussian of `sigma` on `kernel` × `kernel` pixels. Beyond the border the image is mirrored,
/// the border pixel itself not repeated.
pub fn gaussian_blur(image: &mut Image, kernel: usize, sigma: f64) {
    let weights = weights(kernel, sigma);
    let (width, height, channels) = (image.width, image.height, image.channels);
    let row = width * channels;
    let columns: Vec<usize> = taps(width, weights.len()).map(|x| x * channels).collect();
    let rows: Vec<usize> = taps(height, weights.len()).collect();
    let mut blurred = vec![0f32; image.pixels.len()];
    let mut sums = vec![0f32; row];
    for (y, out) in blurred.chunks_exact_mut(row.max(1)).enumerate() {
        // Down the columns first: whole rows at once.
        sums.fill(0.0);
        for (tap, weight) in weights.iter().enumerate() {
            let source = &image.pixels[rows[y + tap] * row..][..row];
            sums.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * f32::from(value));
        }
        for (x, pixel) in out.chunks_exact_mut(channels).enumerate() {
            for (&column, weight) in columns[x..].iter().zip(&weights) {
                pixel.iter_mut().zip(&sums[column..]).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
    image.pixels.iter_mut().zip(blurred).for_each(|(pixel, value)| *pixel = value.round_ties_even() as u8);
}

/// `exp(−x²/2σ²)` around the middle, with sum 1.
fn weights(kernel: usize, sigma: f64) -> Vec<f32> {
    let half = kernel.saturating_sub(1) as f64 / 2.0;
    let raw: Vec<f64> = (0..kernel.max(1)).map(|at| (-0.5 * ((at as f64 - half) / sigma).powi(2)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|weight| (weight / sum) as f32).collect()
}

/// The source of each place of a side that is mirrored at both ends so that a kernel fits everywhere.
fn taps(side: usize, kernel: usize) -> impl Iterator<Item = usize> {
    let last = side.saturating_sub(1) as i64;
    let period = (2 * last).max(1);
    let before = (kernel / 2) as i64;
    (-before..side as i64 + before).map(move |at| {
        let at = at.rem_euclid(period);
        at.min(period - at).min(last) as usize
    })
}
