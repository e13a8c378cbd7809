//! Where a run is, and everything of a trainer in one file.

use crate::checkpoint::{self, restore};
use crate::{Error, Result, Trainer};
use candle_core::{Device, Tensor, Var};
use dml_models::Encoder;
use std::collections::HashMap;
use std::path::Path;

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

    fn state(self) -> Result<Vec<(String, Tensor)>> {
        let cpu = &Device::Cpu;
        Ok(vec![
            ("step".to_owned(), Tensor::new(self.step as i64, cpu)?),
            ("best".to_owned(), Tensor::new(self.best, cpu)?),
            ("since_best".to_owned(), Tensor::new(self.since_best as i64, cpu)?),
        ])
    }

    fn from_state(state: &HashMap<String, Tensor>) -> Result<Self> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::Checkpoint(format!("trainer/{name}")));
        Ok(Self {
            step: find("step")?.to_scalar::<i64>()? as u64,
            best: find("best")?.to_scalar::<f64>()?,
            since_best: find("since_best")?.to_scalar::<i64>()? as u64,
        })
    }
}

impl Trainer {
    /// Writes everything that the rest of the run depends on to `path`; older checkpoints stay beside it, as many as the recipe says.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let tensors = |vars: Vec<(String, Var)>| vars.into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect();
        checkpoint::rotate(path, self.recipe.train.keep)?;
        checkpoint::save(
            path,
            &[
                ("trainer", self.progress.state()?),
                ("encoder", tensors(self.encoder.weights().named())),
                ("proxies", tensors(self.objective.parameters())),
                ("objective", self.objective.state()?),
                ("optimizer", self.optimizer.state()?),
                ("moving_mean", self.moving_mean.as_ref().map_or_else(Vec::new, |mean| mean.state())),
            ],
        )
    }

    /// Goes back to the checkpoint at `path`, or to an older one beside it if that is damaged, and says then what is wrong. `None`:
    /// there is no checkpoint.
    ///
    /// # Errors
    /// When no checkpoint can be read, or it belongs to another model.
    pub fn resume(&mut self, path: &Path) -> Result<Option<Resumed>> {
        let Some((mut sections, problem)) = checkpoint::load_newest(path, self.recipe.train.keep)? else {
            return Ok(None);
        };
        let mut section = |name: &str| sections.remove(name).unwrap_or_default();
        let progress = Progress::from_state(&section("trainer"))?;
        restore(&self.encoder.weights().named(), &section("encoder"))
            .map_err(|n| Error::Checkpoint(format!("encoder/{n}")))?;
        restore(&self.objective.parameters(), &section("proxies"))
            .map_err(|n| Error::Checkpoint(format!("proxies/{n}")))?;
        self.objective.load_state(&section("objective"))?;
        self.optimizer.load_state(&section("optimizer"))?;
        if let Some(mean) = &self.moving_mean {
            mean.load_state(&section("moving_mean"))?;
        }
        self.progress = progress;
        Ok(Some(Resumed { damaged: problem }))
    }
}

/// What a run goes on from.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// What is wrong with a newer checkpoint.
    pub damaged: Option<String>,
}
