//! CosFace, additive cosine margin.
//!
//! `mean_i −log softmax(s·(cos θ − m·1_{y}))_{y_i}`. Wang et al., *CosFace: Large Margin Cosine Loss for Deep Face Recognition*, 2018,
//! eq. 4; the same as AM-Softmax. s = 64 and m = 0.35 as the paper and pytorch-metric-learning; insightface has m = 0.4.

use super::margin_softmax::{MarginSoftmax, TargetLogit};
use super::proxies::{Proxies, ProxyLoss};
use crate::params::{LossParams, positive, within};
use crate::row_loss::Space;
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// Parameters of CosFace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosFaceParams {
    /// Margin m, in cosines. Default 0.35.
    pub margin: f64,
    /// Scale s. Default 64.
    pub scale: f64,
    /// Share of the proxies that take part in a step (Partial FC). Default 1.
    pub sample_rate: f64,
}

impl Default for CosFaceParams {
    fn default() -> Self {
        Self { margin: 0.35, scale: 64.0, sample_rate: 1.0 }
    }
}

/// The cosine's edit.
struct CosineMargin(f64);

impl TargetLogit for CosineMargin {
    fn target(&self, cosine: f64) -> (f64, f64) {
        (cosine - self.0, 1.0)
    }

    fn compose(&self, cosine: &Tensor) -> Result<Tensor> {
        Ok((cosine - self.0)?)
    }
}

impl LossParams for CosFaceParams {
    const NAME: &'static str = "cos_face";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 0.0, 2.0)?;
        positive(Self::NAME, "sample_rate", self.sample_rate)?;
        within(Self::NAME, "sample_rate", self.sample_rate, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let row = MarginSoftmax { scale: self.scale, target: CosineMargin(self.margin) };
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        Ok(Box::new(ProxyLoss::new(proxies, row, Space::new(Metric::Cosine, true), self.sample_rate, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("insightface", Self { margin: 0.4, ..Self::default() }), ("paper", Self::default())]
    }
}
