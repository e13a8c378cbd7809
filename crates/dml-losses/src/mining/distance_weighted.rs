//! Random positives, and negatives drawn evenly over distances.
//!
//! Among many dimensions almost all negatives are √2 away, and uniform draws see nothing else; here each negative is weighed by the
//! inverse density of its distance. Wu et al., *Sampling Matters in Deep Embedding Learning*, 2017, §4; the file `sphere` says
//! how. Each anchor that has a positive and a negative within reach gets as many triplets as its class has samples.

use super::sphere::Sphere;
use super::{Miner, MinerParams};
use crate::chance::Chance;
use crate::{Batch, Context, Result, Tuples};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Parameters of the distance-weighted miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistanceWeightedParams {
    /// Distances below count as this: the weight there would have too much variance. Default 0.5.
    pub cutoff: f64,
    /// Negatives this far and further are never drawn: the loss is 0 there. Default 1.4.
    pub nonzero_loss_cutoff: f64,
    /// `euclidean`, nothing else.
    pub metric: String,
    /// True, nothing else.
    pub normalize: bool,
}

impl Default for DistanceWeightedParams {
    fn default() -> Self {
        Self { cutoff: 0.5, nonzero_loss_cutoff: 1.4, metric: "euclidean".to_owned(), normalize: true }
    }
}

impl DistanceWeightedParams {
    fn sphere(&self) -> Sphere {
        Sphere { cutoff: self.cutoff, nonzero_loss_cutoff: self.nonzero_loss_cutoff, swap: 0.0 }
    }
}

/// A miner that draws from a sphere.
pub(crate) struct SphereMiner {
    pub(crate) sphere: Sphere,
    pub(crate) chance: Chance,
}

impl Miner for SphereMiner {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        let draw = self.chance.step();
        self.sphere.mine(batch, draw)
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.chance.state()
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.chance.load_state(state)
    }
}

impl MinerParams for DistanceWeightedParams {
    const NAME: &'static str = "distance_weighted";

    fn check(&self) -> Result<()> {
        self.sphere().check(Self::NAME, (&self.metric, self.normalize))
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Miner>> {
        Ok(Box::new(SphereMiner { sphere: self.sphere(), chance: Chance::new("miner", context.seed) }))
    }
}
