//! Shift and scale per channel.

use crate::{Dataset, Error, Result};
use serde::{Deserialize, Serialize};

/// `(x − mean) / std` per channel, for `x` in 0..1. One value serves all channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Mean of each channel, or one for all; of values in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, or one for all; of values in 0..1.
    pub std: Vec<f32>,
}

impl Default for Normalize {
    /// Leaves values in 0..1 as they are.
    fn default() -> Self {
        Self { mean: vec![0.0], std: vec![1.0] }
    }
}

impl Normalize {
    /// The mean and standard deviation of every value of `dataset`, per channel. Measure the training split only.
    ///
    /// # Errors
    /// When the set is empty or an image cannot be read.
    pub fn measure(dataset: &dyn Dataset) -> Result<Self> {
        if dataset.is_empty() {
            return Err(Error::Invalid(format!(
                "{}: no images to measure the mean of: give mean and std",
                dataset.name()
            )));
        }
        let channels = dataset.shape()[0];
        // Integer sums are exact, whatever the order.
        let mut sums = vec![(0u64, 0u64); channels];
        let mut count = 0u64;
        for index in 0..dataset.len() {
            let image = dataset.image(index)?;
            for pixel in image.pixels.chunks_exact(channels) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    sum.0 += u64::from(value);
                    sum.1 += u64::from(value).pow(2);
                }
            }
            count += (image.width * image.height) as u64;
        }
        let moments = sums.iter().map(|&(sum, squares)| {
            let mean = sum as f64 / count as f64;
            let variance = (squares as f64 / count as f64 - mean * mean).max(0.0);
            // A constant channel would otherwise divide by zero.
            (mean / 255.0, (variance.sqrt() / 255.0).max(1e-6))
        });
        let (mean, std) = moments.map(|(mean, std)| (mean as f32, std as f32)).unzip();
        Ok(Self { mean, std })
    }

    /// Refuses lists that do not fit `channels`, and deviations that are not positive.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self, channels: usize) -> Result<()> {
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != channels {
                let got = values.len();
                return Err(Error::Invalid(format!(
                    "normalize.{key} has {got} values but images have {channels} channels: give 1 or {channels}"
                )));
            }
        }
        let usable = |std: &f32| std.is_finite() && *std > 0.0;
        match self.std.iter().find(|std| !usable(std)) {
            Some(std) => Err(Error::Invalid(format!("normalize.std holds {std}: give numbers above 0"))),
            None => Ok(()),
        }
    }

    /// Turns values 0..=255 (CHW) into network input, in place.
    pub(crate) fn apply(&self, pixels: &mut [f32], channels: usize) {
        for (channel, plane) in pixels.chunks_exact_mut(pixels.len() / channels).enumerate() {
            let mean = self.mean[channel % self.mean.len()];
            let std = self.std[channel % self.std.len()];
            plane.iter_mut().for_each(|value| *value = (*value / 255.0 - mean) / std);
        }
    }
}
