//! Settings of the optimiser.

use super::Group;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which rule. Default AdamW.
    pub kind: Kind,
    /// Learning rate of the encoder's head, and of all that the factors below do not change. Default 1e-3.
    pub lr: f64,
    /// Learning rate of the loss's own parameters (proxies), as a multiple of `lr`. Default 1; Proxy-Anchor uses 100.
    pub proxy_lr_factor: f64,
    /// Learning rate of the encoder without its head, as a multiple of `lr`; 0 leaves it as it is. Default 1.
    pub backbone_lr_factor: f64,
    /// Steps at the beginning in which the encoder without its head stands still (Proxy-Anchor warms up so). Default 0.
    pub backbone_frozen_steps: u64,
    /// Weight decay of tensors of rank two and more: decoupled for AdamW, added to the gradient for the others, as in PyTorch.
    /// Default 1e-4.
    pub weight_decay: f64,
    /// Whether biases, norms and other tensors of rank one decay, too. Default false.
    pub decay_all: bool,
    /// Momentum of SGD, by default 0.9, and of RMSprop, by default 0.
    pub momentum: Option<f64>,
    /// Whether SGD looks ahead (Nesterov). Default false.
    pub nesterov: bool,
    /// Decay of Adam's mean. Default 0.9.
    pub beta1: f64,
    /// Decay of Adam's square mean. Default 0.999.
    pub beta2: f64,
    /// Decay of RMSprop's square mean. Default 0.99.
    pub alpha: f64,
    /// Added to the root of the square mean. Default 1e-8; Proxy-NCA++ uses 1.
    pub eps: f64,
    /// Largest norm of the gradient of all parameters that move, together; 0 (default) does not clip.
    pub clip_norm: f64,
    /// Largest value of any number of the gradient; 0 (default) does not clip. Comes before `clip_norm`.
    pub clip_value: f64,
}

/// The update rule. Each is PyTorch's of that name, with its order of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `g ← g + λw; v ← μv + g; w ← w − lr·v`, or with Nesterov `w ← w − lr·(g + μv)`.
    Sgd,
    /// Kingma & Ba, *Adam*, 2015, algorithm 1, with `g ← g + λw`.
    Adam,
    /// Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019, algorithm 2.
    #[serde(rename = "adamw")]
    AdamW,
    /// `s ← αs + (1−α)g²; v ← μv + g/(√s + ε); w ← w − lr·v` (Tieleman & Hinton 2012), with `g ← g + λw`.
    RmsProp,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: Kind::AdamW,
            lr: 1e-3,
            proxy_lr_factor: 1.0,
            backbone_lr_factor: 1.0,
            backbone_frozen_steps: 0,
            weight_decay: 1e-4,
            decay_all: false,
            momentum: None,
            nesterov: false,
            beta1: 0.9,
            beta2: 0.999,
            alpha: 0.99,
            eps: 1e-8,
            clip_norm: 0.0,
            clip_value: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// Momentum, as its rule has it where nothing is said.
    pub(crate) fn momentum(&self) -> f64 {
        self.momentum.unwrap_or(if self.kind == Kind::RmsProp { 0.0 } else { 0.9 })
    }

    /// Largest value of a number of the gradient.
    pub(super) fn clip(&self) -> f64 {
        if self.clip_value > 0.0 { self.clip_value } else { f64::INFINITY }
    }

    /// The learning rate of a group in a step, counted from 1, as a multiple of `lr`; 0: it stands still.
    pub(super) fn lr_factor(&self, group: Group, step: u64) -> f64 {
        match group {
            Group::Backbone if step <= self.backbone_frozen_steps => 0.0,
            Group::Backbone => self.backbone_lr_factor,
            Group::Head => 1.0,
            Group::Proxies => self.proxy_lr_factor,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong =
            |key: &str, value: f64, want: &str| Err(Error::Recipe(format!("optimizer.{key} is {value}: want {want}")));
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return wrong("lr", self.lr, "more than 0");
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return wrong("eps", self.eps, "more than 0");
        }
        let shares =
            [("momentum", self.momentum()), ("beta1", self.beta1), ("beta2", self.beta2), ("alpha", self.alpha)];
        for (key, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return wrong(key, value, "0 or more and less than 1");
            }
        }
        for (key, value) in [
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("clip_value", self.clip_value),
            ("proxy_lr_factor", self.proxy_lr_factor),
            ("backbone_lr_factor", self.backbone_lr_factor),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, value, "0 or more");
            }
        }
        if self.nesterov && (self.kind != Kind::Sgd || self.momentum() == 0.0) {
            return Err(Error::Recipe(
                "optimizer.nesterov is set: want kind = \"sgd\" and a momentum above 0, or leave it out".to_owned(),
            ));
        }
        Ok(())
    }
}
