//! Smooth-AP.
//!
//! `AP_q = mean_{p∈P} rank⁺(p)/rank(p)`, where `rank(p) = 1 + Σ_{z≠p} σ((s_z − s_p)/τ)` over all other samples of the batch, and
//! `rank⁺` over the positives among them; the loss is `mean_q (1 − AP_q)` over the queries that have a positive. Cosine,
//! τ = 0.01. Brown et al., *Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval*, 2020, eq. 7. The authors' code takes
//! the query for one of its own positives (`include_self`), and so does pytorch-metric-learning, which besides wants
//! classes of one size, in order. Mined tuples weigh the queries. References that are the query itself are left out.

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

/// Parameters of Smooth-AP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothApParams {
    /// Temperature τ of the sigmoids. Default 0.01.
    pub temperature: f64,
    /// Whether the query is one of its own positives, at cosine 1. Default false.
    pub include_self: bool,
}

impl Default for SmoothApParams {
    fn default() -> Self {
        Self { temperature: 0.01, include_self: false }
    }
}

impl<T: Real> RowObjective<T> for SmoothApParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let step = Sigmoid::new(self.temperature);
        let own = self.include_self.then(|| own_score(row.scores));
        let right: Vec<T> = row.positives().map(|j| row.scores[j]).chain(own).collect();
        let by = 1.0 / right.len() as f64;
        let mut at_right = vec![T::zero(); right.len()];
        let (negatives, mut positives) = (Field::of_negatives(row), Field::new(right.clone()));
        let (mut of_right, mut of_wrong) = (Slopes::default(), Slopes::default());
        let mut value = 0.0;
        for (k, &centre) in right.iter().enumerate() {
            let above = 1.0 + positives.count_from(&step, k, &mut of_right);
            let wrong = negatives.count(&step, centre, &mut of_wrong);
            let rank = above + wrong;
            // 1 − rank⁺/rank.
            value += by * wrong / rank;
            at_right[k] += of_wrong.pull(by * above / (rank * rank), gradient);
            let at_centre = of_right.pull(-by * wrong / (rank * rank), &mut at_right);
            at_right[k] += at_centre;
        }
        row.positives().zip(&at_right).for_each(|(j, &g)| gradient[j] += g);
        let weight = terms.add(0, T::of(value));
        vector::scale(gradient, weight);
    }
}

impl RowForm for SmoothApParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let Some(gaps) = Gaps::new(scores, masks, self.include_self)? else { return no_terms(scores) };
        let above = compose(&gaps.gaps, self.temperature)?;
        let right = ((&above * &gaps.positive)?.sum(1)? + 1.0)?;
        let wrong = (&above * &gaps.negative)?.sum(1)?;
        gaps.mean(&(&wrong / (&right + &wrong)?)?)
    }

    fn tuples_are_weights(&self) -> bool {
        true
    }
}

impl LossParams for SmoothApParams {
    const NAME: &'static str = "smooth_ap";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let with_self = Self { include_self: true, ..Self::default() };
        vec![("authors", with_self.clone()), ("pml", with_self)]
    }
}
