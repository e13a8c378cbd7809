//! Circle loss.
//!
//! `log(1 + Σ_N e^{γ·[s+m]+·(s−m)} · Σ_P e^{−γ·[1+m−s]+·(s−(1−m))})` of each row with positives and negatives, the
//! brackets taken as constants; mean over the rows where it is not 0. Cosines. Sun et al., *Circle Loss: A Unified
//! Perspective of Pair Similarity Optimization*, 2020, eq. 6 and 8. m = 0.4 and γ = 80 as in pytorch-metric-learning and
//! the paper's retrieval; for faces the paper has 0.25 and 256.

use crate::composed::{ComposedTerms, Masks, any, log_sum_exp, softplus};
use crate::params::{LossParams, finite, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result, softmax};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the Circle loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircleParams {
    /// Relaxation m: positives are to reach 1 − m, negatives m. Default 0.4.
    pub m: f64,
    /// Factor γ on the weighted cosines. Default 80.
    pub gamma: f64,
}

impl Default for CircleParams {
    fn default() -> Self {
        Self { m: 0.4, gamma: 80.0 }
    }
}

/// `[x]+`, but what is not a number stays so.
fn pace<T: Real>(x: T) -> T {
    if x < T::zero() { T::zero() } else { x }
}

impl<T: Real> RowObjective<T> for CircleParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() || row.count_negatives() == 0 {
            return terms.add_zeros(0, 1);
        }
        let (m, one, gamma) = (T::of(self.m), T::one(), T::of(self.gamma));
        row.only_negatives(T::neg_infinity(), gradient);
        for g in gradient.iter_mut() {
            let logit = pace(*g + m) * (*g - m);
            *g = if *g == T::neg_infinity() { *g } else { logit };
        }
        let push = vector::log_sum_exp(gradient, gamma, T::zero());
        let pull = |s: T| pace(one + m - s);
        let mut shares: Vec<T> = row.positives().map(|j| row.scores[j]).map(|s| -pull(s) * (s - (one - m))).collect();
        let pulled = vector::log_sum_exp(&mut shares, gamma, T::zero());
        let (value, slope) = softmax::softplus(pulled + push);
        let step = T::of(terms.add(0, value) * slope) * gamma;
        for (g, &s) in gradient.iter_mut().zip(row.scores) {
            *g *= step * pace(s + m);
        }
        for (j, share) in row.positives().zip(shares) {
            gradient[j] -= step * pull(row.scores[j]) * share;
        }
    }
}

impl RowForm for CircleParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (m, fixed) = (self.m, scores.detach());
        let push = ((&fixed + m)?.relu()? * (scores - m)?)?;
        let pull = ((fixed.neg()? + (1.0 + m))?.relu()? * (scores - (1.0 - m))?)?;
        let push = log_sum_exp(&masks.negative, &(push * self.gamma)?)?;
        let pull = log_sum_exp(&masks.positive, &(pull * -self.gamma)?)?;
        let both = (any(&masks.positive)? * any(&masks.negative)?)?;
        let value = (softplus(&(pull + push)?)? * &both)?;
        Ok(vec![ComposedTerms::new(value, both.ones_like()?)])
    }
}

impl LossParams for CircleParams {
    const NAME: &'static str = "circle";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "m", self.m)?;
        positive(Self::NAME, "gamma", self.gamma)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::MeanNonZero, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        vec![("face", Self { m: 0.25, gamma: 256.0 }), ("paper", pml.clone()), ("pml", pml)]
    }
}
