//! How the learning rate moves over a run.

use crate::recipe::TrainConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A factor on the learning rate, as a function of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Shape after the warm-up. Default cosine.
    pub kind: Kind,
    /// Steps over which the factor rises linearly to 1, beginning at 1/`warmup_steps`. Default 0.
    pub warmup_steps: u64,
    /// Steps between drops, for `step`. Default 1000.
    pub step_every: u64,
    /// Factor of each drop, for `step`, `steps_at` and `plateau`. Default 0.5.
    pub step_factor: f64,
    /// Steps at which the factor drops, for `steps_at`. Default none.
    pub steps_at: Vec<u64>,
    /// Power of `poly`. Default 1: a straight line to 0.
    pub power: f64,
    /// Measurements without a better one that `plateau` bears before it drops, as PyTorch counts them: with 0 the first one
    /// that is no better drops. Default 10.
    pub plateau_patience: u64,
}

/// Shape of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Always 1.
    Constant,
    /// Half a cosine from 1 to 0 (Loshchilov & Hutter, *SGDR*, 2017, eq. 5, without restarts).
    Cosine,
    /// Multiplied by `step_factor` every `step_every` steps.
    Step,
    /// Multiplied by `step_factor` at each of `steps_at` (PyTorch's `MultiStepLR`).
    StepsAt,
    /// `(1 − step/steps)^power`.
    Poly,
    /// Multiplied by `step_factor` whenever more than `plateau_patience` measurements were no better than the best (PyTorch's
    /// `ReduceLROnPlateau` with a threshold of 0). Wants `train.validate_every`.
    Plateau,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: Kind::Cosine,
            warmup_steps: 0,
            step_every: 1000,
            step_factor: 0.5,
            steps_at: vec![],
            power: 1.0,
            plateau_patience: 10,
        }
    }
}

impl Schedule {
    pub(crate) fn check(&self, train: &TrainConfig) -> Result<()> {
        let steps = train.steps;
        let wrong = |key: &str, value: String, want: &str| {
            Err(Error::Recipe(format!("schedule.{key} is {value}: want {want}")))
        };
        if self.warmup_steps >= steps {
            return wrong("warmup_steps", self.warmup_steps.to_string(), "fewer than train.steps");
        }
        if self.step_every == 0 {
            return wrong("step_every", "0".to_owned(), "1 or more");
        }
        if !(self.step_factor > 0.0 && self.step_factor <= 1.0) {
            return wrong("step_factor", self.step_factor.to_string(), "more than 0 and at most 1");
        }
        if !(self.power > 0.0 && self.power.is_finite()) {
            return wrong("power", self.power.to_string(), "more than 0");
        }
        if self.kind == Kind::Plateau && train.validate_every == 0 {
            return wrong("kind", "\"plateau\"".to_owned(), "train.validate_every of 1 or more, or another kind");
        }
        if self.kind == Kind::StepsAt && self.steps_at.is_empty() {
            return wrong("steps_at", "[]".to_owned(), "the steps at which the learning rate drops");
        }
        Ok(())
    }

    /// The factor at `step` of `steps`, after `plateaus` drops by measurements.
    pub fn factor(&self, step: u64, steps: u64, plateaus: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let (at, length) = (step - self.warmup_steps, steps.saturating_sub(self.warmup_steps).max(1));
        match self.kind {
            Kind::Constant => 1.0,
            Kind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * at as f64 / length as f64).cos()),
            Kind::Step => self.step_factor.powf((at / self.step_every) as f64),
            Kind::StepsAt => self.step_factor.powf(self.steps_at.iter().filter(|&&drop| drop <= step).count() as f64),
            Kind::Plateau => self.step_factor.powf(plateaus as f64),
            Kind::Poly => (1.0 - (at as f64 / length as f64).min(1.0)).powf(self.power),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_falls() {
        let schedule = Schedule { warmup_steps: 10, ..Schedule::default() };
        assert_eq!(schedule.factor(0, 110, 0), 0.1);
        assert_eq!(schedule.factor(10, 110, 0), 1.0);
        assert!((schedule.factor(60, 110, 0) - 0.5).abs() < 1e-12);
        let drops = Schedule { kind: Kind::Step, step_every: 5, ..Schedule::default() };
        assert_eq!((drops.factor(4, 9, 0), drops.factor(5, 9, 0), drops.factor(10, 19, 0)), (1.0, 0.5, 0.25));
        let at = Schedule { kind: Kind::StepsAt, steps_at: vec![3, 7], step_factor: 0.1, ..Schedule::default() };
        assert_eq!((at.factor(2, 9, 0), at.factor(3, 9, 0)), (1.0, 0.1));
        assert!((at.factor(8, 9, 0) - 0.01).abs() < 1e-12);
        let poly = Schedule { kind: Kind::Poly, power: 2.0, ..Schedule::default() };
        assert_eq!((poly.factor(0, 10, 0), poly.factor(5, 10, 0)), (1.0, 0.25));
        let plateau = Schedule { kind: Kind::Plateau, warmup_steps: 2, ..Schedule::default() };
        assert_eq!([0, 1, 2].map(|drops| plateau.factor(5, 10, drops)), [1.0, 0.5, 0.25]);
    }
}
