//! A moving mean of weights, beside them (Polyak & Juditsky 1992): often better than the last ones.

use crate::checkpoint::restore;
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use dml_models::Weights;
use std::collections::HashMap;

/// Copies of all weights of an encoder, which follow them slowly.
pub(crate) struct MovingMean {
    /// Share of the old in each step.
    share: f64,
    copies: Vec<(String, Var)>,
}

impl MovingMean {
    /// Begins at the weights as they are.
    pub(crate) fn new(weights: &Weights, share: f64) -> Result<Self> {
        let copy = |(name, var): (String, Var)| Ok((name, Var::from_tensor(&var.as_tensor().copy()?)?));
        Ok(Self { share, copies: weights.named().into_iter().map(copy).collect::<Result<_>>()? })
    }

    /// Follows one step. Running statistics, which are means already, are taken as they are.
    pub(crate) fn follow(&self, weights: &Weights) -> Result<()> {
        let parameters = weights.parameters().len();
        for (i, ((_, copy), (_, now))) in self.copies.iter().zip(weights.named()).enumerate() {
            let next = match i < parameters {
                true => ((copy.as_tensor() * self.share)? + (now.as_tensor() * (1.0 - self.share))?)?.detach(),
                false => now.as_tensor().copy()?,
            };
            copy.set(&next)?;
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> Vec<(String, Tensor)> {
        self.copies.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    pub(crate) fn load_state(&self, state: &HashMap<String, Tensor>) -> Result<()> {
        restore(&self.copies, state).map_err(|name| Error::Checkpoint(format!("moving_mean/{name}")))
    }
}

/// `f` while the encoder has the weights `others`, if there are any; then it has its own again.
pub(crate) fn with_weights<T>(
    weights: &Weights,
    others: Option<&[(String, Tensor)]>,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(others) = others else { return f() };
    let named = weights.named();
    let own = named.iter().map(|(_, var)| Ok(var.as_tensor().copy()?)).collect::<Result<Vec<Tensor>>>()?;
    let others: HashMap<String, Tensor> = others.iter().cloned().collect();
    restore(&named, &others).map_err(|name| Error::Checkpoint(format!("weights/{name}")))?;
    let result = f();
    for ((_, var), tensor) in named.iter().zip(&own) {
        var.set(tensor)?;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use dml_models::{Encoder as _, EncoderConfig, Network};

    #[test]
    fn it_is_the_weighted_sum_of_all_steps_and_running_statistics_are_the_last() {
        let encoder = Network::new(&EncoderConfig::default(), [3, 16, 16], 0, &Device::Cpu).unwrap();
        let weights = encoder.weights();
        let set = |value: f64| {
            for (_, var) in weights.named() {
                var.set(&var.ones_like().unwrap().affine(value, 0.0).unwrap()).unwrap();
            }
        };
        set(8.0);
        let mean = MovingMean::new(weights, 0.75).unwrap();
        for value in [4.0, -2.0] {
            set(value);
            mean.follow(weights).unwrap();
        }
        // s² w₀ + (1 − s)(s w₁ + w₂) = 0.5625 · 8 + 0.25 · (0.75 · 4 − 2).
        let state: HashMap<String, Tensor> = mean.state().into_iter().collect();
        let numbers = |name: &str| state[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(weights.parameters().len() > 2 && weights.buffers().len() > 2);
        for parameter in weights.parameters() {
            assert!(numbers(parameter.name()).iter().all(|value| (value - 4.75).abs() < 1e-6), "{}", parameter.name());
        }
        for (name, _) in weights.buffers() {
            assert!(numbers(name).iter().all(|&value| value == -2.0), "{name}");
        }
        // For as long as it is measured the encoder has the mean, and then its own again.
        let first = &weights.parameters()[0];
        let now = || first.var().flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        let within = with_weights(weights, Some(&mean.state()), || Ok(now())).unwrap();
        assert!((within - 4.75).abs() < 1e-6 && now() == -2.0, "{within} {}", now());
    }
}
