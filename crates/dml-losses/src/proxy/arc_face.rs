//! ArcFace, additive angular margin.
//!
//! `mean_i −log softmax(s·cos(θ + m·1_{y}))_{y_i}`. Past `θ > π − m`, where `cos(θ + m)` would rise again, the logit is
//! `s·(cos θ − m·sin m)`. Deng et al., *ArcFace: Additive Angular Margin Loss for Deep Face Recognition*, 2019, eq. 3. The gradient is the exact one
//! (insightface edits the logit without a gradient).

use super::margin_softmax::{MarginSoftmax, TargetLogit};
use super::proxies::{Proxies, ProxyLoss};
use crate::params::{LossParams, positive, within};
use crate::row_loss::Space;
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// Parameters of ArcFace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArcFaceParams {
    /// Margin m, degrees. Default 28.6 (0.5 rad).
    pub margin: f64,
    /// Scale s. Default 64.
    pub scale: f64,
    /// Share of the proxies that take part in a step (Partial FC). Default 1.
    pub sample_rate: f64,
}

impl Default for ArcFaceParams {
    fn default() -> Self {
        Self { margin: 28.6, scale: 64.0, sample_rate: 1.0 }
    }
}

/// Nearest to ±1 that a cosine may come: beyond it the slope of the margin has no bound.
const EDGE: f64 = 1.0 - 1e-7;

/// The angle's edit; the margin in radians.
pub(crate) struct AngularMargin(pub(crate) f64);

impl TargetLogit for AngularMargin {
    fn target(&self, cosine: f64) -> (f64, f64) {
        let c = cosine.clamp(-EDGE, EDGE);
        let theta = c.acos();
        let (value, slope) = if theta <= std::f64::consts::PI - self.0 {
            let shifted = theta + self.0;
            (shifted.cos(), shifted.sin() / theta.sin())
        } else {
            (c - self.0 * self.0.sin(), 1.0)
        };
        // Beyond the edge nothing changes any more.
        (value, if c == cosine { slope } else { 0.0 })
    }

    fn compose(&self, cosine: &Tensor) -> Result<Tensor> {
        // cos(θ + m) = cos θ cos m − sin θ sin m.
        let c = cosine.clamp(-EDGE, EDGE)?;
        let sine = (1.0 - c.sqr()?)?.sqrt()?;
        let shifted = ((&c * self.0.cos())? - (sine * self.0.sin())?)?;
        let straight = (&c - self.0 * self.0.sin())?;
        // θ ≤ π − m.
        Ok(c.ge(-self.0.cos())?.where_cond(&shifted, &straight)?)
    }
}

impl LossParams for ArcFaceParams {
    const NAME: &'static str = "arc_face";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 0.0, 90.0)?;
        positive(Self::NAME, "sample_rate", self.sample_rate)?;
        within(Self::NAME, "sample_rate", self.sample_rate, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let row = MarginSoftmax { scale: self.scale, target: AngularMargin(self.margin.to_radians()) };
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        Ok(Box::new(ProxyLoss::new(proxies, row, Space::new(Metric::Cosine, true), self.sample_rate, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let half_radian = Self { margin: 0.5f64.to_degrees(), ..Self::default() };
        vec![("insightface", half_radian.clone()), ("oml", half_radian.clone()), ("paper", half_radian)]
    }
}
