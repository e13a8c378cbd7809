//! Everything a run needs to know, as TOML. Unknown keys are refused; every value is echoed in the run folder.

use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::{Error, Result};
use dml_data::{Augment, BatchSampler, EpisodicSampler, PkSampler};
use dml_losses::{MemoryConfig, MinerConfig, ObjectiveConfig, ReductionConfig, RegularizerConfig, registry};
use dml_models::EncoderConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A run, completely described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name in reports.
    pub name: String,
    /// Seed of weights, sampler and augmentation. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Where the images come from.
    pub data: DataConfig,
    /// The encoder.
    #[serde(default)]
    pub model: EncoderConfig,
    /// The objective.
    pub loss: LossConfig,
    /// What makes a batch.
    pub sampler: SamplerConfig,
    /// How weights move.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    #[serde(default)]
    pub schedule: Schedule,
    /// How long.
    pub train: TrainConfig,
    /// What is done to training images.
    #[serde(default)]
    pub augment: Augment,
}

/// Where the images come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `emoji`, `folder`, `omniglot-small1`, `omniglot-small2` or `omniglot-full`.
    pub set: String,
    /// Folder with one folder of images per class, for `set = "folder"`.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Side of the square images of a `folder`, pixels. Default 32.
    #[serde(default = "default_size")]
    pub size: usize,
    /// Turn every training class by 0°, 90°, 180°, 270° into four classes; for `omniglot-full` those of validation and test
    /// too, as published. Default false.
    #[serde(default)]
    pub rotations: bool,
    /// Alphabets of Omniglot's background set that are kept from training, to choose by. Default none.
    #[serde(default)]
    pub hold_out: Vec<String>,
}

fn default_size() -> usize {
    32
}

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

/// What makes a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// `pk` (default): every class comes in every epoch; `episodes`: classes and images are drawn afresh for each batch.
    #[serde(default)]
    pub kind: SamplerKind,
    /// Classes per batch: P, or the ways of an episode.
    pub classes: usize,
    /// Images per class: K, or support and queries of an episode together.
    pub per_class: usize,
    /// Support images per class of an episode; the others are queries. Default 1.
    #[serde(default = "default_support")]
    pub support: usize,
}

/// Which sampler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// P classes × K images (Hermans et al. 2017).
    #[default]
    Pk,
    /// Episodes (Vinyals et al. 2016).
    Episodes,
}

fn default_support() -> usize {
    1
}

/// Episodes that make an epoch.
const EPISODES: usize = 100;

impl SamplerConfig {
    /// The sampler over images with these labels.
    ///
    /// # Errors
    /// When there are too few classes or images.
    pub fn build(&self, labels: &[u32], seed: u64) -> Result<Box<dyn BatchSampler>> {
        let queries = self.per_class.saturating_sub(self.support);
        Ok(match self.kind {
            SamplerKind::Pk => Box::new(PkSampler::new(labels, self.classes, self.per_class, seed)?),
            SamplerKind::Episodes => {
                Box::new(EpisodicSampler::new(labels, self.classes, self.support, queries, EPISODES, seed)?)
            }
        })
    }
}

/// How long, and how often something is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Steps between checkpoints. Default 50.
    #[serde(default = "default_checkpoint")]
    pub checkpoint_every: u64,
}

fn default_checkpoint() -> u64 {
    50
}

impl Recipe {
    /// Reads a recipe, then applies `overrides` (`"train.steps=100"`; the value is TOML, or else a string).
    ///
    /// # Errors
    /// When the file cannot be read, or a key or value is not understood.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        Self::parse(&text, overrides).map_err(|e| match e {
            Error::Recipe(problem) => Error::Recipe(format!("{}: {problem}", path.display())),
            other => other,
        })
    }

    /// As [`Recipe::read`], from text.
    ///
    /// # Errors
    /// When a key or value is not understood.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::Recipe(e.to_string()))?;
        for assignment in overrides {
            set(&mut table, assignment)?;
        }
        let mut recipe: Self = if overrides.is_empty() {
            // From the text itself: the error then shows the line.
            toml::from_str(text).map_err(|e| Error::Recipe(e.to_string()))?
        } else {
            table.try_into().map_err(|e: toml::de::Error| Error::Recipe(e.to_string()))?
        };
        recipe.fill_in_loss_parameters();
        recipe.check()?;
        Ok(recipe)
    }

    /// Writes the loss's own defaults out, so that the echo holds them and a later default changes no old run.
    fn fill_in_loss_parameters(&mut self) {
        // An unknown loss is refused where it is built.
        let Ok(loss) = registry::find(&self.loss.name) else { return };
        let preset = self.loss.preset.as_deref();
        let of_preset = (loss.presets)().into_iter().find(|(name, _)| Some(*name) == preset).map(|(_, params)| params);
        let serde_json::Value::Object(defaults) = of_preset.unwrap_or_else(loss.default_params) else { return };
        // TOML has no null: an option that is off is left out.
        for (key, value) in defaults.into_iter().filter(|(_, value)| !value.is_null()) {
            self.loss.params.entry(key).or_insert(value);
        }
    }

    /// The recipe as TOML, every value written out.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Recipe(e.to_string()))
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("train.steps", self.train.steps),
            ("train.checkpoint_every", self.train.checkpoint_every),
            ("sampler.classes", self.sampler.classes as u64),
            ("sampler.per_class", self.sampler.per_class as u64),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(Error::Recipe(format!("{key} is 0: want 1 or more")));
            }
        }
        if !self.data.hold_out.is_empty() && !self.data.set.starts_with("omniglot-small") {
            return Err(Error::Recipe(format!(
                "data.hold_out names alphabets but data.set is {:?}: leave it out, or use an Omniglot background set",
                self.data.set
            )));
        }
        let batch = self.sampler.classes * self.sampler.per_class;
        if let Some(memory) = self.loss.memory.as_ref().filter(|memory| memory.size < batch) {
            return Err(Error::Recipe(format!(
                "loss.memory.size is {} but a batch has {batch} images: want at least a batch",
                memory.size
            )));
        }
        self.metric()?;
        self.augment.check()?;
        self.schedule.check(self.train.steps)?;
        self.optimizer.check()
    }

    /// How embeddings are compared.
    ///
    /// # Errors
    /// When `loss.metric` names no metric.
    pub fn metric(&self) -> Result<dml_core::Metric> {
        self.loss.metric.parse().map_err(|e: dml_core::Error| Error::Recipe(format!("loss.metric: {e}")))
    }
}

fn set(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(Error::Recipe(format!(
            "override {assignment:?} has no '=': write key=value, e.g. train.steps=100"
        )));
    };
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in parts {
        let entry = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry
            .as_table_mut()
            .ok_or_else(|| Error::Recipe(format!("override {assignment:?}: {part} is a value, not a section")))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 'x'\n[data]\nset = 'emoji'\n[loss]\nname = 'triplet'\n[sampler]\nclasses = 4\nper_class = 2\n[train]\nsteps = 5\n";

    #[test]
    fn survives_its_own_echo() {
        let recipe = Recipe::parse(TEXT, &["loss.params.margin=0.2".into(), "data.set=folder".into()]).unwrap();
        assert_eq!(recipe.loss.params["margin"], 0.2);
        let echo = recipe.to_toml().unwrap();
        assert_eq!(Recipe::parse(&echo, &[]).unwrap().to_toml().unwrap(), echo);
    }

    #[test]
    fn refuses_unknown_keys_and_zero_steps() {
        let error = Recipe::parse(&format!("{TEXT}stepps = 5\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("stepps"), "{error}");
        let error = Recipe::parse(TEXT, &["train.steps=0".into()]).unwrap_err().to_string();
        assert!(error.contains("train.steps is 0"), "{error}");
    }
}
