//! SGD and AdamW over parameter groups, with state that a checkpoint can hold.

use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings of the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which rule. Default AdamW.
    pub kind: Kind,
    /// Learning rate of the encoder. Default 1e-3.
    pub lr: f64,
    /// Learning rate of the loss's own parameters (proxies), as a multiple of `lr`. Default 1; Proxy-Anchor uses 100.
    pub proxy_lr_factor: f64,
    /// Decoupled weight decay of tensors of rank two and more; biases and norms have none. Default 1e-4.
    pub weight_decay: f64,
    /// Momentum of SGD. Default 0.9.
    pub momentum: f64,
    /// Decay of AdamW's mean. Default 0.9.
    pub beta1: f64,
    /// Decay of AdamW's square mean. Default 0.999.
    pub beta2: f64,
    /// Added to AdamW's root. Default 1e-8.
    pub eps: f64,
    /// Largest norm of the gradient of all parameters together; 0 (default) does not clip.
    pub clip_norm: f64,
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `v ← μv + g; w ← w − lr·(v + λw)`.
    Sgd,
    /// Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019, algorithm 2.
    #[serde(rename = "adamw")]
    AdamW,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: Kind::AdamW,
            lr: 1e-3,
            proxy_lr_factor: 1.0,
            weight_decay: 1e-4,
            momentum: 0.9,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip_norm: 0.0,
        }
    }
}

impl OptimizerConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong =
            |key: &str, value: f64, want: &str| Err(Error::Recipe(format!("optimizer.{key} is {value}: want {want}")));
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return wrong("lr", self.lr, "more than 0");
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return wrong("eps", self.eps, "more than 0");
        }
        for (key, value) in [("momentum", self.momentum), ("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return wrong(key, value, "0 or more and less than 1");
            }
        }
        for (key, value) in [
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("proxy_lr_factor", self.proxy_lr_factor),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, value, "0 or more");
            }
        }
        Ok(())
    }
}

struct Slot {
    name: String,
    var: Var,
    lr_factor: f64,
    /// AdamW's mean, or SGD's velocity.
    first: Tensor,
    /// AdamW's square mean.
    second: Tensor,
}

/// Moves parameters against their gradients.
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

impl Optimizer {
    /// An optimiser over the encoder's and the loss's parameters.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn new(config: OptimizerConfig, encoder: Vec<(String, Var)>, proxies: Vec<(String, Var)>) -> Result<Self> {
        let factor = config.proxy_lr_factor;
        let groups = encoder.into_iter().map(|p| (p, 1.0)).chain(proxies.into_iter().map(|p| (p, factor)));
        let slots = groups
            .map(|((name, var), lr_factor)| {
                Ok(Slot { name, lr_factor, first: var.zeros_like()?, second: var.zeros_like()?, var })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { config, slots, steps: 0 })
    }

    /// One step with the learning rate multiplied by `factor`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn step(&mut self, gradients: &GradStore, factor: f64) -> Result<()> {
        self.steps += 1;
        let clip = self.clip(gradients)?;
        let c = &self.config;
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(&slot.var) else { continue };
            let gradient = if clip < 1.0 { (gradient * clip)? } else { gradient.clone() };
            let lr = c.lr * slot.lr_factor * factor;
            let update = match c.kind {
                Kind::Sgd => {
                    slot.first = ((&slot.first * c.momentum)? + gradient)?.detach();
                    slot.first.clone()
                }
                Kind::AdamW => {
                    slot.first = ((&slot.first * c.beta1)? + (&gradient * (1.0 - c.beta1))?)?.detach();
                    slot.second = ((&slot.second * c.beta2)? + (gradient.sqr()? * (1.0 - c.beta2))?)?.detach();
                    let n = self.steps as f64;
                    let (u1, u2) = (1.0 - c.beta1.powf(n), 1.0 - c.beta2.powf(n));
                    ((&slot.first / u1)? / ((&slot.second / u2)?.sqrt()? + c.eps)?)?
                }
            };
            let decay = if slot.var.rank() > 1 { c.weight_decay } else { 0.0 };
            let kept = (slot.var.as_tensor() * (1.0 - lr * decay))?;
            slot.var.set(&(kept - (update * lr)?)?.detach())?;
        }
        Ok(())
    }

    fn clip(&self, gradients: &GradStore) -> Result<f64> {
        if self.config.clip_norm == 0.0 {
            return Ok(1.0);
        }
        let mut square = 0f64;
        for gradient in self.slots.iter().filter_map(|s| gradients.get(&s.var)) {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok((self.config.clip_norm / square.sqrt().max(f64::MIN_POSITIVE)).min(1.0))
    }

    /// All state, with stable names.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = vec![("steps".to_owned(), Tensor::new(self.steps as i64, &candle_core::Device::Cpu)?)];
        for slot in &self.slots {
            state.push((format!("{}.first", slot.name), slot.first.clone()));
            state.push((format!("{}.second", slot.name), slot.second.clone()));
        }
        Ok(state)
    }

    /// Restores what [`Self::state`] gave.
    ///
    /// # Errors
    /// When an entry is missing or has another shape.
    pub fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let find = |name: &str, like: Option<&Tensor>| {
            let tensor = state.get(name).filter(|t| like.is_none_or(|l| l.dims() == t.dims()));
            tensor.cloned().ok_or_else(|| Error::Checkpoint(format!("optimizer/{name}")))
        };
        self.steps = find("steps", None)?.to_scalar::<i64>()? as u64;
        for slot in &mut self.slots {
            slot.first = find(&format!("{}.first", slot.name), Some(&slot.first))?.to_device(slot.var.device())?;
            slot.second = find(&format!("{}.second", slot.name), Some(&slot.second))?.to_device(slot.var.device())?;
        }
        Ok(())
    }
}
