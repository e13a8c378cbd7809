//! Normalised softmax.
//!
//! `mean_i −log softmax(cos(x_i, w)/T)_{y_i}`. Zhai & Wu, *Classification is a Strong Baseline for Deep Metric Learning*, 2019, eq. 3.

use super::proxies::{Proxies, ProxyLoss};
use crate::params::{parse, positive};
use crate::softmax::CrossEntropy;
use crate::{Context, Objective, Result};
use dml_core::Metric;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of normalised softmax.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizedSoftmaxParams {
    /// Temperature T. Default 0.05.
    pub temperature: f32,
}

impl Default for NormalizedSoftmaxParams {
    fn default() -> Self {
        Self { temperature: 0.05 }
    }
}

pub(crate) fn build(params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    const NAME: &str = "normalized_softmax";
    let p: NormalizedSoftmaxParams = parse(NAME, params)?;
    positive(NAME, "temperature", p.temperature)?;
    let proxies = Proxies::normal(NAME, 1.0, context)?;
    Ok(Box::new(ProxyLoss { proxies, row: CrossEntropy { scale: 1.0 / p.temperature }, metric: Metric::Cosine }))
}
