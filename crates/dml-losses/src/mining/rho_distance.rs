//! Distance-weighted triplets, of which a share pushes a positive away.
//!
//! With probability ρ a draw is not (anchor, positive, negative) but (anchor, anchor, positive): the positive stands where the negative
//! would, which keeps classes from collapsing to a point. Roth et al., *Revisiting Training Strategies and Generalization Performance
//! in Deep Metric Learning*, 2020, §5. Where the anchor is not among the references, another positive stands for it; an anchor
//! without one then makes no such triplet. The authors draw one triplet of each anchor; here it is as many as for
//! `distance_weighted`.

use super::distance_weighted::SphereMiner;
use super::sphere::Sphere;
use super::{Miner, MinerParams};
use crate::chance::Chance;
use crate::params::within;
use crate::{Context, Result};
use serde::{Deserialize, Serialize};

/// Parameters of the ρ-regularised distance-weighted miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RhoDistanceParams {
    /// Probability ρ that a positive stands for the negative. Default 0.2.
    pub rho: f64,
    /// Distances below count as this. Default 0.5.
    pub cutoff: f64,
    /// Negatives this far and further are never drawn. Default 1.4.
    pub nonzero_loss_cutoff: f64,
    /// `euclidean`, nothing else.
    pub metric: String,
    /// True, nothing else.
    pub normalize: bool,
}

impl Default for RhoDistanceParams {
    fn default() -> Self {
        Self { rho: 0.2, cutoff: 0.5, nonzero_loss_cutoff: 1.4, metric: "euclidean".to_owned(), normalize: true }
    }
}

impl RhoDistanceParams {
    fn sphere(&self) -> Sphere {
        Sphere { cutoff: self.cutoff, nonzero_loss_cutoff: self.nonzero_loss_cutoff, swap: self.rho }
    }
}

impl MinerParams for RhoDistanceParams {
    const NAME: &'static str = "rho_distance";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "rho", self.rho, 0.0, 1.0)?;
        self.sphere().check(Self::NAME, (&self.metric, self.normalize))
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Miner>> {
        Ok(Box::new(SphereMiner { sphere: self.sphere(), chance: Chance::new("miner", context.seed) }))
    }
}
