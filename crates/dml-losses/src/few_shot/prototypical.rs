//! Prototypical loss.
//!
//! The first `n_support` samples of each class of the batch are its support, the rest are queries; `c_k` is the mean of the
//! support: `mean_q −log softmax_k(−scale·‖f(q) − c_k‖²)_{y_q}`. Snell et al., *Prototypical Networks for Few-shot Learning*, 2017, eq. 2.
//! Squared distance, no temperature, no normalisation by default.

use super::episode::{Episode, EpisodeLoss};
use crate::params::{LossParams, metric, positive, wrong};
use crate::row_loss::Space;
use crate::setting::Setting;
use crate::softmax::CrossEntropy;
use crate::{Context, Objective, Result};
use dml_core::Reduction;
use serde::{Deserialize, Serialize};

/// Parameters of the prototypical loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrototypicalParams {
    /// Support samples per class. Default 1.
    pub n_support: usize,
    /// Factor on the squared distance (or on the cosine). Default 1.
    pub scale: f64,
    /// Any metric. Default `squared_euclidean`.
    pub metric: String,
}

impl Default for PrototypicalParams {
    fn default() -> Self {
        Self { n_support: 1, scale: 1.0, metric: "squared_euclidean".to_owned() }
    }
}

impl LossParams for PrototypicalParams {
    const NAME: &'static str = "prototypical";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        if self.n_support == 0 {
            return Err(wrong(Self::NAME, "n_support is 0: want 1 or more".to_owned()));
        }
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        Ok(Box::new(EpisodeLoss {
            name: Self::NAME,
            n_support: self.n_support,
            episode: Episode::of_means,
            metric,
            row: CrossEntropy { scale: -metric.sign() * self.scale },
            setting: Setting::new(Space::new(metric, false), Reduction::Mean, context),
        }))
    }
}
