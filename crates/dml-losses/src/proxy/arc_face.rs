//! ArcFace, additive angular margin.
//!
//! `mean_i −log softmax(s·cos(θ + m·1_{y}))_{y_i}`. Past `θ > π − m`, where `cos(θ + m)` would rise again, the logit is
//! `s·(cos θ − m·sin m)`. Deng et al., *ArcFace: Additive Angular Margin Loss for Deep Face Recognition*, 2019, eq. 3. The gradient is the exact one
//! (insightface edits the logit without a gradient).

use super::proxies::{Proxies, ProxyLoss};
use crate::params::{parse, positive, wrong};
use crate::softmax::log_sum_exp;
use crate::{Context, Objective, Result};
use dml_core::Metric;
use dml_core::rowwise::{Row, RowObjective};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of ArcFace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArcFaceParams {
    /// Margin m, degrees. Default 28.6 (0.5 rad).
    pub margin: f32,
    /// Scale s. Default 64.
    pub scale: f32,
}

impl Default for ArcFaceParams {
    fn default() -> Self {
        Self { margin: 28.6, scale: 64.0 }
    }
}

/// Nearest to ±1 that a cosine may come: beyond it the slope of the margin has no bound.
const EDGE: f64 = 1.0 - 1e-7;

struct ArcFace {
    /// Radians.
    margin: f64,
    scale: f32,
}

impl ArcFace {
    /// Cosine with margin, and its derivative by the cosine.
    fn with_margin(&self, cosine: f32) -> (f32, f32) {
        let c = f64::from(cosine).clamp(-EDGE, EDGE);
        let theta = c.acos();
        if theta <= std::f64::consts::PI - self.margin {
            let shifted = theta + self.margin;
            (shifted.cos() as f32, (shifted.sin() / theta.sin()) as f32)
        } else {
            ((c - self.margin * self.margin.sin()) as f32, 1.0)
        }
    }
}

impl RowObjective for ArcFace {
    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let Some(target) = row.positives().next() else { return 0.0 };
        let (shifted, slope) = self.with_margin(row.scores[target]);
        for (g, s) in gradient.iter_mut().zip(row.scores) {
            *g = self.scale * s;
        }
        gradient[target] = self.scale * shifted;
        let at_target = f64::from(gradient[target]);
        let loss = log_sum_exp(gradient) - at_target;
        gradient[target] = (gradient[target] - 1.0) * slope;
        gradient.iter_mut().for_each(|g| *g *= self.scale * weight[0]);
        f64::from(weight[0]) * loss
    }
}

pub(crate) fn build(params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    const NAME: &str = "arc_face";
    let p: ArcFaceParams = parse(NAME, params)?;
    positive(NAME, "scale", p.scale)?;
    if !(0.0..=90.0).contains(&p.margin) {
        return Err(wrong(NAME, format!("margin is {} degrees: want 0 to 90", p.margin)));
    }
    let row = ArcFace { margin: f64::from(p.margin).to_radians(), scale: p.scale };
    Ok(Box::new(ProxyLoss { proxies: Proxies::normal(NAME, 1.0, context)?, row, metric: Metric::Cosine }))
}
