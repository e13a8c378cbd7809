//! Seeded initial weights: the same seed gives the same bits on every machine and device.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One stream of random numbers for all weights of a model.
pub(crate) struct Init(ChaCha8Rng);

impl Init {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in 0..1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// Normal weights with the given standard deviation, by Box–Muller.
    pub(crate) fn normal(&mut self, shape: &[usize], std: f64, device: &Device) -> Result<Var> {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|_| {
                let (u, v): (f64, f64) = (self.0.random(), self.0.random());
                let radius = (-2.0 * (1.0 - u).ln()).sqrt();
                (std * radius * (2.0 * std::f64::consts::PI * v).cos()) as f32
            })
            .collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, device)?)
    }
}
