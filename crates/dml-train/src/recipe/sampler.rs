//! What makes a batch, as a recipe says it.

use crate::{Error, Result};
use dml_data::sampler::{
    BatchSampler, CoveringPkSampler, EpisodicSampler, HierarchicalSampler, MPerClassSampler, NoDuplicatesSampler,
    PkSampler, RandomSampler, Short, WeightedPkSampler,
};
use serde::{Deserialize, Serialize};

/// What makes a batch: `classes` × `per_class` samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Which rule. Default `pk`.
    pub kind: SamplerKind,
    /// Classes per batch: P, or the ways of an episode.
    pub classes: usize,
    /// Samples per class: K, or support and queries of an episode together.
    pub per_class: usize,
    /// Support samples per class of an episode; the others are queries. Default 1.
    pub support: usize,
    /// What becomes of a class with fewer than K samples, for `covering_pk`. Default `repeat`.
    pub short: ShortClass,
    /// Super-classes of a batch, for `hierarchical`. Default 2.
    pub super_classes: usize,
    /// Batches of each set of super-classes in an epoch, for `hierarchical`. Default 4.
    pub batches_per_tuple: usize,
    /// Levels the sizes of classes, for `weighted_pk`: 1 (default) draws a class as often as it has samples, ∞ all alike.
    pub temperature: f64,
    /// Samples of an epoch, for `m_per_class`; 0 (default): as many as there are.
    pub length: usize,
}

/// Which rule deals samples to batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// P classes × K samples; every class comes in every epoch (Hermans et al. 2017).
    #[default]
    Pk,
    /// P classes × K samples; every sample comes in every epoch.
    CoveringPk,
    /// PML's `MPerClassSampler`.
    MPerClass,
    /// P classes, drawn by their sizes, × K samples.
    WeightedPk,
    /// Classes of few super-classes (Cakir et al. 2019); for sets that have groups.
    Hierarchical,
    /// Any P·K samples; every sample comes once in every epoch.
    Random,
    /// Any P·K pairs of texts among which no text comes twice, so that no positive is another pair's negative; for sets of pairs.
    NoDuplicates,
    /// Episodes (Vinyals et al. 2016): classes and samples are drawn afresh for each batch.
    Episodes,
}

/// What becomes of a class with fewer than K samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortClass {
    /// It gives all and begins again.
    #[default]
    Repeat,
    /// It gives all, and the batch is smaller.
    Allow,
    /// It is left out.
    Drop,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            kind: SamplerKind::Pk,
            classes: 0,
            per_class: 0,
            support: 1,
            short: ShortClass::Repeat,
            super_classes: HierarchicalSampler::SUPERS_PER_BATCH,
            batches_per_tuple: HierarchicalSampler::BATCHES_PER_TUPLE,
            temperature: 1.0,
            length: 0,
        }
    }
}

/// What a sampler may know of the samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Class of each.
    pub labels: &'a [u32],
    /// Super-class of each; empty: there are none.
    pub groups: &'a [u32],
    /// Of pairs: the number of each of their texts; empty: they are no pairs.
    pub texts: &'a [[u32; 2]],
}

/// Episodes that make an epoch.
const EPISODES: usize = 100;

impl SamplerConfig {
    /// Samples of a batch.
    pub fn batch(&self) -> usize {
        self.classes * self.per_class
    }

    /// The sampler over samples of which this is known.
    ///
    /// # Errors
    /// When there are too few classes or samples, or no groups or pairs where they are wanted.
    pub fn build(&self, Known { labels, groups, texts }: Known<'_>, seed: u64) -> Result<Box<dyn BatchSampler>> {
        let of_pairs = [SamplerKind::NoDuplicates, SamplerKind::Random].contains(&self.kind);
        if !texts.is_empty() && !of_pairs {
            return Err(Error::Recipe(
                "sampler.kind deals classes but the set holds pairs: use \"no_duplicates\" or \"random\"".to_owned(),
            ));
        }
        let (classes, each) = (self.classes, self.per_class);
        let short = match self.short {
            ShortClass::Repeat => Short::Repeat,
            ShortClass::Allow => Short::Allow,
            ShortClass::Drop => Short::Drop,
        };
        Ok(match self.kind {
            SamplerKind::Pk => Box::new(PkSampler::new(labels, classes, each, seed)?),
            SamplerKind::CoveringPk => Box::new(CoveringPkSampler::new(labels, classes, each, short, seed)?),
            SamplerKind::MPerClass => {
                let length = if self.length == 0 { labels.len() } else { self.length };
                Box::new(MPerClassSampler::new(labels, each, self.batch(), length, seed)?)
            }
            SamplerKind::WeightedPk => Box::new(WeightedPkSampler::new(labels, classes, each, self.temperature, seed)?),
            SamplerKind::Hierarchical if groups.is_empty() => {
                return Err(Error::Recipe(
                    "sampler.kind is \"hierarchical\" but the set has no groups: use another, or a table with a column \
                     `group`"
                        .to_owned(),
                ));
            }
            SamplerKind::Hierarchical => Box::new(HierarchicalSampler::new(
                labels,
                groups,
                self.batch(),
                each,
                self.super_classes,
                self.batches_per_tuple,
                seed,
            )?),
            SamplerKind::NoDuplicates if texts.is_empty() => {
                return Err(Error::Recipe(
                    "sampler.kind is \"no_duplicates\" but the set holds no pairs: use another".to_owned(),
                ));
            }
            SamplerKind::NoDuplicates => Box::new(NoDuplicatesSampler::new(texts, self.batch(), seed)?),
            SamplerKind::Random => Box::new(RandomSampler::new(labels.len(), self.batch(), seed)?),
            SamplerKind::Episodes => {
                let queries = each.saturating_sub(self.support);
                Box::new(EpisodicSampler::new(labels, classes, self.support, queries, EPISODES, seed)?)
            }
        })
    }
}
