//! AdaFace, a margin that depends on the quality of the image.
//!
//! ArcFace's and CosFace's margins together, `s·(cos(θ − m·q) − (m + m·q))` at the target, where the quality
//! `q = clip((‖x‖ − μ)/(σ + ε)·h, −1, 1)` compares the embedding's norm (clipped to 10⁻³..100, a constant of the gradient) with a
//! running mean and deviation. Kim, Jain & Liu, *AdaFace: Quality Adaptive Margin for Face Recognition*, 2022, eq. 14-18, with the
//! constants of the authors' code: ε = 10⁻³, cosines within ±(1 − ε), angles within ε..π − ε; μ and σ begin at 20 and 100 and
//! take `momentum` of each batch before it is judged (0.01 as the paper; the code's class defaults to 1, no running mean
//! at all). m = 0.4, h = 0.333, s = 64. A batch of one has no deviation, and one with norms that are no numbers neither:
//! what is not known does not move the running numbers.

use super::margin_softmax::against_others;
use super::proxies::{Proxies, ProxyColumns};
use crate::composed::{ComposedTerms, Masks};
use crate::params::{LossParams, positive, within};
use crate::row_loss::{Fused, RowForm, Sides, Space, composed, fused, wide};
use crate::setting::Setting;
use crate::softmax::cross_entropy;
use crate::{Batch, Context, Error, Evaluation, Objective, Result};
use candle_core::{DType, Device, Tensor, Var};
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::f64::consts::PI;

/// Parameters of AdaFace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaFaceParams {
    /// Margin m. Default 0.4.
    pub margin: f64,
    /// Concentration h: how fast the quality goes to ±1. Default 0.333.
    pub h: f64,
    /// Scale s. Default 64.
    pub scale: f64,
    /// Share of the new batch in the running mean and deviation of norms. Default 0.01.
    pub momentum: f64,
}

impl Default for AdaFaceParams {
    fn default() -> Self {
        Self { margin: 0.4, h: 0.333, scale: 64.0, momentum: 0.01 }
    }
}

/// Keeps cosines and angles from their ends, and the deviation from 0.
const EPS: f64 = 1e-3;
/// Name of the running mean and deviation in a checkpoint.
const NORMS: &str = "norms";

/// A row, with the quality of each anchor.
struct QualityMargin {
    margin: f64,
    scale: f64,
    qualities: Vec<f64>,
}

impl QualityMargin {
    /// The edited cosine and its derivative.
    fn target(&self, cosine: f64, quality: f64) -> (f64, f64) {
        let c = cosine.clamp(EPS - 1.0, 1.0 - EPS);
        let (theta, shift) = (c.acos(), self.margin * quality);
        let shifted = theta - shift;
        let kept = shifted.clamp(EPS, PI - EPS);
        let slope = if kept == shifted && c == cosine { shifted.sin() / theta.sin() } else { 0.0 };
        (kept.cos() - self.margin * (1.0 + quality), slope)
    }
}

impl<T: Real> RowObjective<T> for QualityMargin {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(target) = row.positives().next() else { return };
        let (edited, slope) = self.target(row.scores[target].wide(), self.qualities[row.anchor]);
        let limit = T::of(1.0 - EPS);
        for (g, &c) in gradient.iter_mut().zip(row.scores) {
            let c = if c > limit { limit } else { c };
            *g = if c < -limit { -limit } else { c };
        }
        let (value, share) = against_others(gradient, self.scale, target, edited);
        let step = terms.add(0, value) * share * self.scale;
        let factor = T::of(step);
        for (g, &c) in gradient.iter_mut().zip(row.scores) {
            *g = if c.abs() > limit { T::zero() } else { *g * factor };
        }
        gradient[target] = T::of(-step * slope);
    }
}

impl RowForm for QualityMargin {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let c = scores.clamp(EPS - 1.0, 1.0 - EPS)?;
        let column = |f: &dyn Fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = self.qualities.iter().map(|&q| f(q)).collect();
            Ok(Tensor::from_vec(values, (self.qualities.len(), 1), c.device())?
                .to_dtype(c.dtype())?
                .broadcast_as(c.shape())?)
        };
        // cos(θ − mq) = cos θ cos mq + sin θ sin mq; an angle beyond an end stays there: a cosine beyond that of the end
        // moved by mq, where there is such an angle at all.
        let sine = (1.0 - c.sqr()?)?.sqrt()?;
        let inner = ((&c * column(&|q| (self.margin * q).cos())?)? + (sine * column(&|q| (self.margin * q).sin())?)?)?;
        let end = |x: f64| inner.ones_like()? * x.cos();
        let (first, last) = (
            column(&|q| (EPS + self.margin * q).clamp(0.0, PI).cos())?,
            column(&|q| (PI - EPS + self.margin * q).clamp(0.0, PI).cos())?,
        );
        let shifted = c.gt(&first)?.where_cond(&end(EPS)?, &inner)?;
        let shifted = c.lt(&last)?.where_cond(&end(PI - EPS)?, &shifted)?;
        let edited = (shifted - column(&|q| self.margin * (1.0 + q))?)?;
        cross_entropy(&(masks.positive.gt(0.0)?.where_cond(&edited, &c)? * self.scale)?, masks)
    }
}

struct AdaFace {
    proxies: Proxies,
    params: AdaFaceParams,
    setting: Setting,
    mean: f64,
    std: f64,
}

impl AdaFace {
    /// Takes the norms of a batch into the running numbers, and judges them.
    fn qualities(&mut self, embeddings: &Tensor) -> Result<Vec<f64>> {
        let norms = wide(&embeddings.detach())?.sqr()?.sum(1)?.sqrt()?.to_device(&Device::Cpu)?;
        let norms: Vec<f64> = norms.to_dtype(DType::F64)?.to_vec1()?;
        let norms: Vec<f64> = norms.into_iter().map(|norm| norm.clamp(1e-3, 100.0)).collect();
        let (n, share) = (norms.len() as f64, self.params.momentum);
        let mean = norms.iter().sum::<f64>() / n;
        let squares = norms.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>();
        let std = if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { f64::NAN };
        for (running, new) in [(&mut self.mean, mean), (&mut self.std, std)] {
            if new.is_finite() {
                *running = share * new + (1.0 - share) * *running;
            }
        }
        let judge = |norm: f64| ((norm - self.mean) / (self.std + EPS) * self.params.h).clamp(-1.0, 1.0);
        Ok(norms.into_iter().map(judge).collect())
    }
}

impl Objective for AdaFace {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (labels, weights) = self.proxies.admit(batch)?;
        let qualities = self.qualities(batch.embeddings)?;
        let row = QualityMargin { margin: self.params.margin, scale: self.params.scale, qualities };
        let vectors = self.proxies.like(batch.embeddings)?;
        let columns = ProxyColumns { labels, per_class: 1, classes: self.proxies.classes, places: None };
        let run = self.setting.run(&columns, &weights);
        let sides = Sides { anchors: batch.embeddings, references: Some(&vectors) };
        if !self.setting.fused(sides) {
            return composed(sides, &run, |scores, masks| row.compose(scores, masks));
        }
        let Fused { loss, statistics, .. } = fused(sides, &run, &row)?;
        Ok(Evaluation { loss, statistics })
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn learns_classes(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(vec![(NORMS.to_owned(), Tensor::new(&[self.mean, self.std], &Device::Cpu)?)])
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let saved = state.get(NORMS).ok_or_else(|| Error::State(format!("{NORMS} of ada_face is missing")))?;
        let wrong = || Error::State(format!("{NORMS} of ada_face has shape {:?}: want [2]", saved.dims()));
        let numbers: Vec<f64> = saved.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let [mean, std] = numbers[..] else { return Err(wrong()) };
        (self.mean, self.std) = (mean, std);
        Ok(())
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for AdaFaceParams {
    const NAME: &'static str = "ada_face";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 0.0, 1.5)?;
        positive(Self::NAME, "h", self.h)?;
        within(Self::NAME, "momentum", self.momentum, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(AdaFace {
            proxies: Proxies::on_sphere(Self::NAME, context)?,
            params: self.clone(),
            setting: Setting::new(Space::new(Metric::Cosine, true), Reduction::Mean, context),
            mean: 20.0,
            std: 100.0,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default())]
    }
}
