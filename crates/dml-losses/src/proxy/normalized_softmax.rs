//! Normalised softmax.
//!
//! `mean_i −log softmax(cos(x_i, w)/T)_{y_i}`. Zhai & Wu, *Classification is a Strong Baseline for Deep Metric Learning*, 2019, eq. 3.

use super::proxies::{Proxies, ProxyLoss};
use crate::params::{LossParams, positive, within};
use crate::row_loss::Space;
use crate::softmax::CrossEntropy;
use crate::{Context, Objective, Result};
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// Parameters of normalised softmax.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizedSoftmaxParams {
    /// Temperature T. Default 0.05.
    pub temperature: f64,
    /// Share of the proxies that take part in a step (Partial FC). Default 1.
    pub sample_rate: f64,
}

impl Default for NormalizedSoftmaxParams {
    fn default() -> Self {
        Self { temperature: 0.05, sample_rate: 1.0 }
    }
}

impl LossParams for NormalizedSoftmaxParams {
    const NAME: &'static str = "normalized_softmax";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)?;
        positive(Self::NAME, "sample_rate", self.sample_rate)?;
        within(Self::NAME, "sample_rate", self.sample_rate, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        let row = CrossEntropy { scale: 1.0 / self.temperature };
        Ok(Box::new(ProxyLoss::new(proxies, row, Space::new(Metric::Cosine, true), self.sample_rate, context)))
    }
}
