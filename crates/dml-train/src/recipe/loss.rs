//! The objective, as a recipe says it.

use dml_losses::{MemoryConfig, MinerConfig, ObjectiveConfig, ReductionConfig, RegularizerConfig};
use serde::{Deserialize, Serialize};

/// The objective and its parameters, which the loss itself checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Name in the registry of `dml-losses`.
    pub name: String,
    /// A preset of the loss, under its parameters.
    #[serde(default)]
    pub preset: Option<String>,
    /// Parameters of the loss; those left out take its defaults.
    #[serde(default)]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// How terms become one number; as the loss does, if left out.
    #[serde(default)]
    pub reduction: Option<ReductionConfig>,
    /// Which pairs or triplets of the batch are used; all, if left out.
    #[serde(default)]
    pub miner: Option<MinerConfig>,
    /// Cross-batch memory around the loss.
    #[serde(default)]
    pub memory: Option<MemoryConfig>,
    /// What is added for embeddings or proxies.
    #[serde(default)]
    pub regularizers: Vec<RegularizerConfig>,
    /// Whether proxies begin at the mean embedding of their class (Qi et al. 2018) instead of at a random place. Default
    /// false.
    #[serde(default)]
    pub imprint: bool,
    /// How embeddings of this loss are compared: `cosine` (default), `euclidean`, `squared_euclidean` or `dot`.
    #[serde(default = "default_metric")]
    pub metric: String,
}

impl LossConfig {
    /// The objective as `dml-losses` knows it.
    pub fn objective(&self) -> ObjectiveConfig {
        ObjectiveConfig {
            preset: self.preset.clone(),
            params: self.params.clone(),
            reduction: self.reduction.clone(),
            miner: self.miner.clone(),
            memory: self.memory.clone(),
            regularizers: self.regularizers.clone(),
            ..ObjectiveConfig::new(self.name.clone())
        }
    }
}

fn default_metric() -> String {
    "cosine".to_owned()
}
