//! Where a run is, and how well it has done.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::HashMap;

/// Steps, and how well the validation classes did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    /// The best MAP@R on the validation classes; −1: none yet.
    pub(crate) best: f64,
    /// Measurements since.
    pub(crate) since_best: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { step: 0, best: -1.0, since_best: 0 }
    }
}

impl Progress {
    /// Takes note of a measurement; whether it is the best so far.
    pub(crate) fn measured(&mut self, value: f64) -> bool {
        if value > self.best {
            (self.best, self.since_best) = (value, 0);
            return true;
        }
        self.since_best += 1;
        false
    }

    pub(crate) fn state(self) -> Result<Vec<(String, Tensor)>> {
        let cpu = &Device::Cpu;
        Ok(vec![
            ("step".to_owned(), Tensor::new(self.step as i64, cpu)?),
            ("best".to_owned(), Tensor::new(self.best, cpu)?),
            ("since_best".to_owned(), Tensor::new(self.since_best as i64, cpu)?),
        ])
    }

    pub(crate) fn from_state(state: &HashMap<String, Tensor>) -> Result<Self> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::Checkpoint(format!("trainer/{name}")));
        Ok(Self {
            step: find("step")?.to_scalar::<i64>()? as u64,
            best: find("best")?.to_scalar::<f64>()?,
            since_best: find("since_best")?.to_scalar::<i64>()? as u64,
        })
    }
}
