//! Where a run is, and how well it has done.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::HashMap;

/// Steps, and how well what is measured in between did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    /// The best measurement; [`NONE`]: none yet.
    pub(crate) best: f64,
    /// Measurements since.
    pub(crate) since_best: u64,
    /// Drops of the learning rate because nothing got better.
    pub(crate) plateaus: u64,
    /// Measurements without a better one since the last drop.
    flat: u64,
}

/// Below all that is measured: a correlation of −1 is better than none.
const NONE: f64 = -2.0;

impl Default for Progress {
    fn default() -> Self {
        Self { step: 0, best: NONE, since_best: 0, plateaus: 0, flat: 0 }
    }
}

impl Progress {
    /// Takes note of a measurement; whether it is the best so far. More than `patience` of them that are not are a plateau.
    pub(crate) fn measured(&mut self, value: f64, patience: u64) -> bool {
        if value > self.best {
            (self.best, self.since_best, self.flat) = (value, 0, 0);
            return true;
        }
        self.since_best += 1;
        self.flat += 1;
        if self.flat > patience {
            (self.plateaus, self.flat) = (self.plateaus + 1, 0);
        }
        false
    }

    pub(crate) fn state(self) -> Result<Vec<(String, Tensor)>> {
        let count =
            |name: &str, value: u64| -> Result<_> { Ok((name.to_owned(), Tensor::new(value as i64, &Device::Cpu)?)) };
        Ok(vec![
            count("step", self.step)?,
            ("best".to_owned(), Tensor::new(self.best, &Device::Cpu)?),
            count("since_best", self.since_best)?,
            count("plateaus", self.plateaus)?,
            count("flat", self.flat)?,
        ])
    }

    pub(crate) fn from_state(state: &HashMap<String, Tensor>) -> Result<Self> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::Checkpoint(format!("trainer/{name}")));
        let count = |name: &str| -> Result<u64> { Ok(find(name)?.to_scalar::<i64>()? as u64) };
        // Checkpoints of older versions have no plateaus.
        let later = |name: &str| if state.contains_key(name) { count(name) } else { Ok(0) };
        Ok(Self {
            step: count("step")?,
            best: find("best")?.to_scalar::<f64>()?,
            since_best: count("since_best")?,
            plateaus: later("plateaus")?,
            flat: later("flat")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drops of `torch.optim.lr_scheduler.ReduceLROnPlateau(patience=2, mode="max", threshold=0)` on the same numbers.
    #[test]
    fn plateaus_are_counted_as_pytorch_counts_them() {
        let mut progress = Progress::default();
        let measured = [0.1, 0.2, 0.2, 0.1, 0.1, 0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2];
        let drops = measured.map(|value| {
            progress.measured(value, 2);
            progress.plateaus
        });
        assert_eq!(drops, [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
        let state: HashMap<_, _> = progress.state().unwrap().into_iter().collect();
        assert_eq!(Progress::from_state(&state).unwrap(), progress);
        let old =
            state.into_iter().filter(|(name, _)| ["step", "best", "since_best"].contains(&name.as_str())).collect();
        assert_eq!(Progress::from_state(&old).unwrap(), Progress { plateaus: 0, flat: 0, ..progress });
    }
}
