//! Matching loss.
//!
//! The first `n_support` samples of each class of the batch are its support, the rest are queries; a query attends to every
//! sample of the support: `mean_q −log Σ_{i: y_i = y_q} softmax_i(scale·cos(f(q), f(x_i)))`. Vinyals et al., *Matching Networks
//! for One Shot Learning*, 2016, eq. 1 and §2.1.1, which has no factor on the cosine: so the `paper` preset and the default have 1.
//! Cosines span 2, so such a loss stays above a floor and falls slowly; a factor of 10 or so mends that. Queries and support go
//! through one network (`f = g`). The paper's full-context embeddings, LSTMs over the support, are not here: its figures on Omniglot
//! are without them.

use super::episode::{Episode, EpisodeLoss};
use crate::pairs::nca::Neighbours;
use crate::params::{LossParams, metric, positive, wrong};
use crate::row_loss::Space;
use crate::setting::Setting;
use crate::{Context, Objective, Result};
use dml_core::Reduction;
use serde::{Deserialize, Serialize};

/// Parameters of the matching loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchingParams {
    /// Support samples per class. Default 1.
    pub n_support: usize,
    /// Factor on the cosine (or on the distance). Default 1.
    pub scale: f64,
    /// Any metric. Default `cosine`.
    pub metric: String,
}

impl Default for MatchingParams {
    fn default() -> Self {
        Self { n_support: 1, scale: 1.0, metric: "cosine".to_owned() }
    }
}

impl LossParams for MatchingParams {
    const NAME: &'static str = "matching";

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
            episode: Episode::of_samples,
            metric,
            row: Neighbours { scale: -metric.sign() * self.scale, tuples_are_weights: false },
            setting: Setting::new(Space::new(metric, false), Reduction::Mean, context),
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default())]
    }
}
