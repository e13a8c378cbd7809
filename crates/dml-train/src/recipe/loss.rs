//! The objective, as a recipe says it.

use dml_losses::wrappers::{MatryoshkaConfig, SelfSupervisedConfig};
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
    /// The loss of the beginnings of the embeddings, so that they can be cut (Kusupati et al. 2022); each length is measured in
    /// the end. Default: of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matryoshka: Option<MatryoshkaConfig>,
    /// Views of one example are positives of each other and of nobody else, e.g. `{ symmetric = true }`: no labels are looked at. For
    /// examples of two views. Default: labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_supervised: Option<SelfSupervisedConfig>,
    /// What this loss is multiplied by in a sum. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// Further losses, added with their weights: `name`, `weight` and the other keys of a loss. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plus: Vec<ObjectiveConfig>,
    /// How the two views of examples that have two are taken. Default `compared`.
    #[serde(default, skip_serializing_if = "Views::is_default")]
    pub views: Views,
    /// Whether proxies begin at the mean embedding of their class (Qi et al. 2018) instead of at a random place. Default
    /// false.
    #[serde(default)]
    pub imprint: bool,
    /// How embeddings of this loss are compared: `cosine` (default), `euclidean`, `squared_euclidean` or `dot`.
    #[serde(default = "default_metric")]
    pub metric: String,
}

/// How two views of each example are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Views {
    /// The first are anchors; the second are what they are compared with.
    #[default]
    Compared,
    /// All are one batch, in which both views of an example have its label: for any loss of labels, with a memory and miners too.
    Pooled,
}

impl Views {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl LossConfig {
    /// Lengths to which embeddings are trained to be cut.
    pub fn dims(&self) -> &[usize] {
        self.matryoshka.as_ref().map_or(&[], |matryoshka| &matryoshka.dims)
    }

    /// The objective as `dml-losses` knows it.
    pub fn objective(&self) -> ObjectiveConfig {
        ObjectiveConfig {
            preset: self.preset.clone(),
            params: self.params.clone(),
            reduction: self.reduction.clone(),
            miner: self.miner.clone(),
            memory: self.memory.clone(),
            regularizers: self.regularizers.clone(),
            matryoshka: self.matryoshka.clone(),
            self_supervised: self.self_supervised,
            weight: self.weight,
            plus: self.plus.clone(),
            ..ObjectiveConfig::new(self.name.clone())
        }
    }
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

fn default_metric() -> String {
    "cosine".to_owned()
}
