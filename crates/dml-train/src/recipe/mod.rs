//! Everything a run needs to know, as TOML. Unknown keys are refused; every value is echoed in the run folder.

mod data;
mod loss;
mod sampler;
mod training;
mod warm_up;

pub use data::DataConfig;
pub use loss::{LossConfig, Views};
pub use sampler::{Known, SamplerConfig, SamplerKind, ShortClass};
pub use training::{Evaluated, TrainConfig};
pub use warm_up::WarmUp;

use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::{Error, Result, weights};
use dml_data::Augment;
use dml_losses::registry;
use dml_models::{EncoderConfig, Pooling};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A run, completely described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name in reports.
    pub name: String,
    /// Seed of weights, sampler and augmentation. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Where the images or texts come from.
    pub data: DataConfig,
    /// The encoder.
    #[serde(default)]
    pub model: EncoderConfig,
    /// The objective.
    pub loss: LossConfig,
    /// Another loss for the first steps. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
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
        let loss = &mut recipe.loss;
        fill_in(&loss.name, loss.preset.as_deref(), &mut loss.params);
        for other in loss.plus.iter_mut().chain(recipe.warm_up.as_mut().map(|warm_up| &mut warm_up.loss)) {
            fill_in(&other.name, other.preset.as_deref(), &mut other.params);
        }
        recipe.optimizer.momentum = Some(recipe.optimizer.momentum());
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, every value written out.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Recipe(e.to_string()))
    }

    /// The recipe with the shape of its encoder and the length of its texts written out, where that is a published sentence encoder
    /// which says it. Its pooling may be another by `model.head`.
    ///
    /// # Errors
    /// When what `model.weights` names cannot be had, or is no sentence encoder.
    pub fn completed(&self) -> Result<Self> {
        let mut recipe = self.clone();
        let mut longest = complete(&mut recipe.model)?;
        if let Some(text) = &mut recipe.model.text {
            longest = complete(text)?;
        }
        recipe.take_length(longest);
        Ok(recipe)
    }

    /// As [`Self::completed`], but of an encoder on the hub, or of a folder that is gone, the shape is that which `before` has
    /// written out, if it was completed from the same address: the hub is not asked.
    ///
    /// # Errors
    /// When what `model.weights` names here is no sentence encoder.
    pub(crate) fn completed_as(&self, before: &Self) -> Result<Self> {
        let (mut recipe, length) = (self.clone(), Some(before.data.max_length));
        let mut longest = complete_as(&mut recipe.model, Some(&before.model), length)?;
        if let Some(text) = &mut recipe.model.text {
            longest = complete_as(text, before.model.text.as_deref(), length)?;
        }
        recipe.take_length(longest);
        Ok(recipe)
    }

    /// Cuts texts at what their encoder says, unless the recipe does.
    fn take_length(&mut self, longest: Option<usize>) {
        if self.data.max_length == 0 {
            self.data.max_length = longest.unwrap_or(0);
        }
    }

    fn check(&self) -> Result<()> {
        self.train.check()?;
        self.data.check()?;
        for (key, value) in [("classes", self.sampler.classes), ("per_class", self.sampler.per_class)] {
            if value == 0 {
                return Err(Error::Recipe(format!("sampler.{key} is 0: want 1 or more")));
            }
        }
        let of_text = self.model.text.as_ref().map_or(0.0, |text| text.head.dropout);
        if self.train.chunk > 0 && self.model.head.dropout.max(of_text) > 0.0 {
            return Err(Error::Recipe(
                "train.chunk embeds twice, but head.dropout would drop other numbers: set one to 0".into(),
            ));
        }
        if !self.data.hold_out.is_empty() && !self.data.set.starts_with("omniglot-small") {
            return Err(Error::Recipe(format!(
                "data.hold_out names alphabets but data.set is {:?}: leave it out, or use an Omniglot background set",
                self.data.set
            )));
        }
        let views = if self.loss.views == Views::Pooled { 2 } else { 1 };
        let batch = views * self.sampler.batch();
        if let Some(memory) = self.loss.memory.as_ref().filter(|memory| memory.size < batch) {
            return Err(Error::Recipe(format!(
                "loss.memory.size is {} but a batch has {batch} embeddings: want at least a batch",
                memory.size
            )));
        }
        self.metric()?;
        self.augment.check()?;
        self.schedule.check(&self.train)?;
        if let Some(warm_up) = &self.warm_up {
            warm_up.check(self.train.steps)?;
        }
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

/// Gives `model` the shape of the sentence encoder that its weights name, if they do; and the most tokens that it takes.
fn complete(model: &mut EncoderConfig) -> Result<Option<usize>> {
    let Some(folder) = weights::sentence_folder(model)? else { return Ok(None) };
    take_shape(model, &folder.config);
    Ok(model.text_sizes().map(|sizes| folder.max_length.min(sizes.places)))
}

/// As [`complete`], from what the same address has become `before`, with texts of that `length`, where it is one of the hub, or a
/// folder that is gone.
fn complete_as(
    model: &mut EncoderConfig,
    before: Option<&EncoderConfig>,
    length: Option<usize>,
) -> Result<Option<usize>> {
    let before = before.filter(|before| before.weights == model.weights);
    // Who names an architecture of texts has it from no folder.
    let was_a_folder = || before.is_some_and(|of| of.architecture.embeds_texts() && !model.architecture.embeds_texts());
    let goes_by_before = weights::are_a_repository(model) || weights::are_gone(model) && was_a_folder();
    if !goes_by_before {
        return complete(model);
    }
    let Some(before) = before else { return Ok(None) };
    take_shape(model, before);
    Ok(length)
}

fn take_shape(model: &mut EncoderConfig, found: &EncoderConfig) {
    model.architecture = found.architecture;
    model.bert.clone_from(&found.bert);
    model.distil_bert.clone_from(&found.distil_bert);
    if model.head.pooling == Pooling::Default {
        model.head.pooling = found.head.pooling;
    }
    model.head.normalize |= found.head.normalize;
}

/// Writes a loss's own defaults out, so that the echo holds them and a later default changes no old run.
fn fill_in(name: &str, preset: Option<&str>, params: &mut serde_json::Map<String, serde_json::Value>) {
    // An unknown loss is refused where it is built.
    let Ok(loss) = registry::find(name) else { return };
    let of_preset = (loss.presets)().into_iter().find(|(name, _)| Some(*name) == preset).map(|(_, params)| params);
    let serde_json::Value::Object(defaults) = of_preset.unwrap_or_else(loss.default_params) else { return };
    // TOML has no null: an option that is off is left out.
    for (key, value) in defaults.into_iter().filter(|(_, value)| !value.is_null()) {
        params.entry(key).or_insert(value);
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
