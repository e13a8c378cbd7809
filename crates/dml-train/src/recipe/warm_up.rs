//! Classification before metric learning, as a recipe says it.

use crate::{Error, Result};
use dml_losses::ObjectiveConfig;
use serde::{Deserialize, Serialize};

/// The first steps of a run, in which the encoder learns by another loss: classes first, then distances. Proxies of either loss
/// learn only in their own steps; the schedule and the optimiser's means of the encoder go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Steps by this loss, the first of `train.steps`.
    pub steps: u64,
    /// The loss of these steps, with the keys of `[loss]` that it has. Default `normalized_softmax`: softmax over classes, whose
    /// columns are proxies (Zhai & Wu 2019).
    #[serde(default = "classification")]
    pub loss: ObjectiveConfig,
}

fn classification() -> ObjectiveConfig {
    ObjectiveConfig::new("normalized_softmax")
}

impl WarmUp {
    pub(super) fn check(&self, steps: u64) -> Result<()> {
        match self.steps {
            0 => Err(Error::Recipe("warm_up.steps is 0: want 1 or more, or leave [warm_up] out".into())),
            own if own >= steps => {
                Err(Error::Recipe(format!("warm_up.steps is {own}: want fewer than train.steps, {steps}")))
            }
            _ => Ok(()),
        }
    }
}
