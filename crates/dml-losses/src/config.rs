//! An objective as configurations hold it: a loss and what goes around it.
//!
//! Inside out: the loss with its reduction, the miner, the beginnings of the embeddings, the memory, the regularisers, the views; and the
//! sum with further objectives.

use crate::error::setting;
use crate::mining::MinerConfig;
use crate::regularizer::RegularizerConfig;
use crate::wrappers::{
    Matryoshka, MatryoshkaConfig, Mined, MultipleLosses, Regularized, SelfSupervised, SelfSupervisedConfig,
};
use crate::{Context, CrossBatchMemory, Error, MemoryConfig, Objective, Reduction, ReductionConfig, Result, registry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A loss with what goes around it. In JSON:
///
/// ```
/// # use dml_losses::{Context, ObjectiveConfig};
/// let config: ObjectiveConfig = serde_json::from_str(
///     r#"{"name": "triplet", "params": {"margin": 0.1}, "reduction": "mean",
///         "miner": {"name": "batch_hard"}, "memory": {"size": 1024}}"#,
/// )?;
/// let objective = config.build(&Context::new(128, 10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// Name of the loss in the registry.
    pub name: String,
    /// A preset of the loss, under the parameters. Default: the loss's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What this objective is multiplied by in a sum. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// Parameters of the loss; those left out have their defaults.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// How terms become one number. Default: as the loss does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduction: Option<ReductionConfig>,
    /// Which tuples of the batch are used. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<MinerConfig>,
    /// A memory of past batches. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryConfig>,
    /// Losses of the beginnings of the embeddings. Default: of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matryoshka: Option<MatryoshkaConfig>,
    /// Views instead of labels: the second view comes as references. Default: labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_supervised: Option<SelfSupervisedConfig>,
    /// What is added for embeddings or proxies. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regularizers: Vec<RegularizerConfig>,
    /// Further objectives, added with their weights. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plus: Vec<ObjectiveConfig>,
}

fn one() -> f64 {
    1.0
}

impl ObjectiveConfig {
    /// A loss with its defaults and nothing around it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            preset: None,
            weight: 1.0,
            params: Map::new(),
            reduction: None,
            miner: None,
            memory: None,
            matryoshka: None,
            self_supervised: None,
            regularizers: Vec::new(),
            plus: Vec::new(),
        }
    }

    /// The objective.
    ///
    /// # Errors
    /// When there is no such loss, a parameter is unknown or out of range, or things do not go together.
    pub fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let mut all = Vec::new();
        self.collect(&mut all);
        if let [only] = all[..] {
            if only.weight != 1.0 {
                return self.refuse("weight", format!("is {} with nothing beside it: leave it out", only.weight));
            }
            return only.alone(context);
        }
        if let Some(none) = all.iter().find(|config| config.reduction == Some(ReductionConfig::None)) {
            return none.refuse(
                "reduction",
                "none gives a number of each anchor, and plus adds one number: want another".into(),
            );
        }
        if let Some(odd) = all.iter().find(|config| config.self_supervised.is_some() != self.self_supervised.is_some())
        {
            return odd.refuse("self_supervised", "is set for some of the losses of a sum: want all or none".into());
        }
        let weighted = |config: &&Self| Ok((config.weight, config.alone(context)?));
        Ok(Box::new(MultipleLosses::new(all.iter().map(weighted).collect::<Result<_>>()?)?))
    }

    /// This and those added to it.
    fn collect<'a>(&'a self, all: &mut Vec<&'a Self>) {
        all.push(self);
        self.plus.iter().for_each(|config| config.collect(all));
    }

    fn refuse<X>(&self, key: &str, problem: String) -> Result<X> {
        Err(setting(format!("loss {}", self.name), format!("{key} {problem}")))
    }

    /// An error of something around this loss, with the loss's name.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Setting { what, problem } => setting(format!("loss {}", self.name), format!("{what}: {problem}")),
            other => other,
        }
    }

    fn alone(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let loss = registry::find(&self.name)?.config(self.preset.as_deref(), &Value::Object(self.params.clone()))?;
        let reduction =
            self.reduction.as_ref().map(ReductionConfig::reduction).transpose().map_err(|e| self.named(e))?;
        self.check(reduction.as_ref(), context)?;
        let context = Context { reduction: reduction.or_else(|| context.reduction.clone()), ..context.clone() };
        let inner = |context: &Context| -> Result<Box<dyn Objective>> {
            let base = loss.build(context)?;
            if self.reduction.is_some() && !base.takes_reduction() {
                return Err(setting(
                    "reduction",
                    "of no effect on this loss, which is one number by itself: leave it out",
                ));
            }
            match &self.miner {
                None => Ok(base),
                Some(miner) => Ok(Box::new(Mined::new(base, miner.build(context)?)?)),
            }
        };
        self.around(&context, inner).map_err(|error| self.named(error))
    }

    /// The loss with what goes around it.
    fn around(
        &self,
        context: &Context,
        inner: impl Fn(&Context) -> Result<Box<dyn Objective>>,
    ) -> Result<Box<dyn Objective>> {
        let mut objective = match &self.matryoshka {
            None => inner(context)?,
            Some(config) => Box::new(Matryoshka::new(config, context, inner)?),
        };
        if let Some(memory) = &self.memory {
            objective = Box::new(CrossBatchMemory::new(objective, memory.clone(), context)?);
        }
        if !self.regularizers.is_empty() {
            objective = Box::new(Regularized::new(objective, self.regularizers.clone())?);
        }
        if let Some(config) = self.self_supervised {
            objective = Box::new(SelfSupervised::new(objective, config)?);
        }
        Ok(objective)
    }

    /// Refuses what does not go together.
    fn check(&self, reduction: Option<&Reduction>, context: &Context) -> Result<()> {
        if !self.weight.is_finite() {
            return self.refuse("weight", format!("is {}: want a finite number", self.weight));
        }
        if self.self_supervised.is_some() && self.memory.is_some() {
            return self.refuse(
                "self_supervised",
                "numbers the samples of each batch anew, so a memory mixes them up: leave one out".into(),
            );
        }
        if self.memory.is_some() && matches!(self.miner, Some(MinerConfig::PackagedTriplets(_))) {
            return self
                .refuse("miner", "packaged_triplets names rows of the batch, not of a memory: leave one out".into());
        }
        match reduction {
            Some(Reduction::None) if !self.regularizers.is_empty() => self.refuse(
                "reduction",
                "none gives a number of each anchor, and regularizers add one number: want another".into(),
            ),
            Some(Reduction::ClassWeighted(_)) if self.self_supervised.is_some() => self
                .refuse("reduction", "class_weighted wants classes, and self_supervised has none: want another".into()),
            Some(Reduction::ClassWeighted(weights)) if weights.len() < context.classes => {
                let (given, classes) = (weights.len(), context.classes);
                self.refuse(
                    "reduction",
                    format!("class_weighted has {given} weights for {classes} classes: want one of each"),
                )
            }
            _ => Ok(()),
        }
    }
}
