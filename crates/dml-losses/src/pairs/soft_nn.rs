//! Soft nearest neighbour loss.
//!
//! `−log( Σ_P e^{−d/T} / Σ_{P∪N} e^{−d/T} )`, mean over the anchors that have a positive. Squared distances, T = 1; for
//! similarities `e^{s/T}`. Frosst et al., *Analyzing and Improving Representations with the Soft Nearest Neighbor Loss*,
//! 2019, eq. 1, which does not normalise; here embeddings are by default. pytorch-metric-learning has no such loss; its
//! NCA is this one with a factor instead of a temperature.

use super::nca::Neighbours;
use crate::params::{LossParams, metric, positive};
use crate::row_loss::{RowLoss, Space};
use crate::{Context, Objective, Result};
use dml_core::Reduction;
use serde::{Deserialize, Serialize};

/// Parameters of the soft nearest neighbour loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftNnParams {
    /// Temperature T. Default 1.
    pub temperature: f64,
    /// Any metric. Default `squared_euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for SoftNnParams {
    fn default() -> Self {
        Self { temperature: 1.0, metric: "squared_euclidean".to_owned(), normalize: true }
    }
}

impl LossParams for SoftNnParams {
    const NAME: &'static str = "soft_nn";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)?;
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let row = Neighbours { scale: -metric.sign() / self.temperature, tuples_are_weights: false };
        Ok(Box::new(RowLoss::new(row, Space::new(metric, self.normalize), Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { normalize: false, ..Self::default() })]
    }
}
