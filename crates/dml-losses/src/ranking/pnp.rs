//! PNP: penalises negatives before positives, and nothing else.
//!
//! `R_p = Σ_N σ((s_n − s_p)/τ)` softly counts the negatives before a positive; the loss is `mean_q mean_p f(R_p)` over the
//! queries that have a positive, p running over the positives and, as in the authors' code, the query itself (cosine 1).
//! `f`: `o` R; `ds` log(1 + R); `iu` (1 + R) log(1 + R); `ib` (bR − log(1 + bR))/b²; `dq` 1 − (1 + R)^−α. Cosine, τ = 0.01. Li et al.,
//! *Rethinking the Optimization of Average Precision: Only Penalizing Negative Instances before Positive Ones is Enough*, 2022. The authors
//! keep exponents within ±50, which is below rounding. Mined tuples narrow who is a positive and a negative.

use super::gaps::Gaps;
use super::soft_rank::{Field, Sigmoid, Slopes, compose, own_score};
use crate::composed::{ComposedTerms, Masks, no_terms};
use crate::params::{LossParams, positive};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// What is made of the number R of negatives before a positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PnpVariant {
    /// R.
    O,
    /// `log(1 + R)`.
    Ds,
    /// `1 − (1 + R)^−α`.
    Dq,
    /// `(1 + R) log(1 + R)`.
    Iu,
    /// `(bR − log(1 + bR))/b²`.
    Ib,
}

/// Parameters of PNP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PnpParams {
    /// b of the variant `ib`. Default 2.
    pub b: f64,
    /// α of the variant `dq`. Default 1.
    pub alpha: f64,
    /// Temperature τ of the sigmoids. Default 0.01.
    pub anneal: f64,
    /// `o` (default), `ds`, `dq`, `iu` or `ib`.
    pub variant: PnpVariant,
}

impl Default for PnpParams {
    fn default() -> Self {
        Self { b: 2.0, alpha: 1.0, anneal: 0.01, variant: PnpVariant::O }
    }
}

impl PnpParams {
    /// f and its derivative.
    fn penalty(&self, r: f64) -> (f64, f64) {
        let (b, alpha, log) = (self.b, self.alpha, (1.0 + r).ln());
        match self.variant {
            PnpVariant::O => (r, 1.0),
            PnpVariant::Ds => (log, 1.0 / (1.0 + r)),
            PnpVariant::Dq => (1.0 - (-alpha * log).exp(), alpha * (-(alpha + 1.0) * log).exp()),
            PnpVariant::Iu => ((1.0 + r) * log, log + 1.0),
            PnpVariant::Ib => ((b * r - (1.0 + b * r).ln()) / (b * b), r / (1.0 + b * r)),
        }
    }
}

impl<T: Real> RowObjective<T> for PnpParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let step = Sigmoid::new(self.anneal);
        let (negatives, mut slopes) = (Field::of_negatives(row), Slopes::default());
        let by = 1.0 / (row.positives.len() + 1) as f64;
        let mut value = 0.0;
        for j in row.positives() {
            let (penalty, slope) = self.penalty(negatives.count(&step, row.scores[j], &mut slopes));
            value += by * penalty;
            let at_centre = slopes.pull(by * slope, gradient);
            gradient[j] += at_centre;
        }
        let (penalty, slope) = self.penalty(negatives.count(&step, own_score(row.scores), &mut slopes));
        value += by * penalty;
        slopes.pull(by * slope, gradient);
        let weight = terms.add(0, T::of(value));
        vector::scale(gradient, weight);
    }
}

impl RowForm for PnpParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let Some(gaps) = Gaps::new(scores, masks, true)? else { return no_terms(scores) };
        let above = compose(&gaps.gaps, self.anneal)?;
        let r = (above * &gaps.negative)?.sum(1)?;
        let log = (&r + 1.0)?.log()?;
        gaps.mean(&match self.variant {
            PnpVariant::O => r,
            PnpVariant::Ds => log,
            PnpVariant::Dq => (1.0 - (log * -self.alpha)?.exp()?)?,
            PnpVariant::Iu => ((r + 1.0)? * log)?,
            PnpVariant::Ib => {
                let scaled = (r * self.b)?;
                ((&scaled - (&scaled + 1.0)?.log()?)? / (self.b * self.b))?
            }
        })
    }
}

impl LossParams for PnpParams {
    const NAME: &'static str = "pnp";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "b", self.b)?;
        positive(Self::NAME, "alpha", self.alpha)?;
        positive(Self::NAME, "anneal", self.anneal)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { variant: PnpVariant::Dq, alpha: 4.0, ..Self::default() }), ("pml", Self::default())]
    }
}
