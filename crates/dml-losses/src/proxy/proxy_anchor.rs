//! Proxy-Anchor.
//!
//! `(1/|P⁺|) Σ_{p∈P⁺} log(1 + Σ_{x∈X⁺_p} e^{−α(s−δ)}) + (1/|P|) Σ_p log(1 + Σ_{x∈X⁻_p} e^{α(s+δ)})`: here the proxies are the anchors and the
//! batch the references; `P⁺` are the proxies with a sample in the batch. Kim et al., *Proxy Anchor Loss for Deep Metric Learning*, 2020, eq. 4.
//! Mined tuples add `w − 1` to the exponents of a sample (as pytorch-metric-learning), w being how often it was mined over
//! the most.

use super::proxies::Proxies;
use crate::composed::{ComposedTerms, Masks, any, log_one_plus_sum_exp};
use crate::params::{LossParams, finite, positive};
use crate::row_loss::{RowForm, Sides, Space};
use crate::setting::Setting;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::relevance::Labels;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of Proxy-Anchor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyAnchorParams {
    /// Margin δ. Default 0.1.
    pub margin: f64,
    /// Sharpness α. Default 32.
    pub alpha: f64,
}

impl Default for ProxyAnchorParams {
    fn default() -> Self {
        Self { margin: 0.1, alpha: 32.0 }
    }
}

/// A proxy's row; `weights` of the samples, or none.
struct ProxyRow {
    params: ProxyAnchorParams,
    weights: Vec<f64>,
}

impl ProxyRow {
    /// What is added to the exponent of sample `j`.
    fn shift(&self, j: usize) -> f64 {
        self.params.alpha * self.params.margin + self.weights.get(j).map_or(0.0, |w| w - 1.0)
    }
}

impl<T: Real> RowObjective<T> for ProxyRow {
    fn groups(&self) -> usize {
        2
    }

    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let alpha = self.params.alpha;
        row.only_negatives(T::neg_infinity(), gradient);
        for (j, g) in gradient.iter_mut().enumerate() {
            *g = T::of(alpha) * *g + T::of(self.shift(j));
        }
        let value = vector::log_sum_exp(gradient, T::one(), T::one());
        let weight = terms.add(1, T::of(value));
        vector::scale(gradient, weight * T::of(alpha));
        if row.positives.is_empty() {
            return;
        }
        let exponent = |j: usize| T::of(self.shift(j)) - T::of(alpha) * row.scores[j];
        let mut shares: Vec<T> = row.positives().map(exponent).collect();
        let value = vector::log_sum_exp(&mut shares, T::one(), T::one());
        let weight = terms.add(0, T::of(value)) * T::of(-alpha);
        row.positives().zip(shares).for_each(|(j, share)| gradient[j] = weight * share);
    }
}

impl RowForm for ProxyRow {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let n = scores.dim(1)?;
        let shift: Vec<f64> = (0..n).map(|j| self.shift(j)).collect();
        let shift = Tensor::from_vec(shift, (1, n), scores.device())?.to_dtype(scores.dtype())?;
        let scaled = (scores * self.params.alpha)?;
        let pull = log_one_plus_sum_exp(&masks.positive, &scaled.neg()?.broadcast_add(&shift)?)?;
        let push = log_one_plus_sum_exp(&masks.negative, &scaled.broadcast_add(&shift)?)?;
        let all = push.ones_like()?;
        Ok(vec![ComposedTerms::new(pull, any(&masks.positive)?), ComposedTerms::new(push, all)])
    }
}

struct ProxyAnchor {
    proxies: Proxies,
    classes: Vec<u64>,
    params: ProxyAnchorParams,
    setting: Setting,
}

impl Objective for ProxyAnchor {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (labels, weights) = self.proxies.admit(batch)?;
        let row = ProxyRow { params: self.params.clone(), weights };
        let vectors = self.proxies.like(batch.embeddings)?;
        let relevance = Labels::new(&self.classes, labels, None);
        let sides = Sides { anchors: &vectors, references: Some(batch.embeddings) };
        self.setting.evaluate(sides, &relevance, &[], &row)
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }

    fn learns_classes(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }
}

impl LossParams for ProxyAnchorParams {
    const NAME: &'static str = "proxy_anchor";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "alpha", self.alpha)?;
        finite(Self::NAME, "margin", self.margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        // Kaiming normal over fan-out, as the authors draw them: std = √(2/C).
        let std = (2.0 / context.classes.max(1) as f64).sqrt();
        Ok(Box::new(ProxyAnchor {
            proxies: Proxies::normal(Self::NAME, std, 1, context)?,
            classes: (0..context.classes as u64).collect(),
            params: self.clone(),
            setting: Setting::new(Space::new(Metric::Cosine, true), Reduction::Mean, context),
        }))
    }
}
