//! Recall@k surrogate.
//!
//! `r_p = 1 + Σ_{z≠p} σ((s_z − s_p)/τ₂)` is the soft rank of a positive among all other samples of the batch; the loss is
//! `1 − min(k, Σ_P σ((k − r_p)/τ₁))/min(k, |P|)`, averaged over the queries that have a positive and over the k. Cosine, k = 1, 2, 4, 8,
//! 16, τ₁ = 1, τ₂ = 0.01. Patel et al., *Recall@k Surrogate Loss with Large Batches and Similarity Mixup*, 2022, eq. 4–7. Not in pytorch-metric-learning. Made for
//! batches of thousands. Mined tuples narrow who is a positive and a negative.

use super::gaps::Gaps;
use super::soft_rank::{Field, Sigmoid, Slopes, compose};
use crate::composed::{ComposedTerms, Masks, any, no_terms, sigmoid};
use crate::params::{LossParams, positive, wrong};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the Recall@k surrogate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecallAtKParams {
    /// The k that are averaged. Default 1, 2, 4, 8, 16.
    pub ks: Vec<usize>,
    /// Temperature τ₁ of the outer sigmoid, on ranks. Default 1.
    pub temperature: f64,
    /// Temperature τ₂ of the inner sigmoid, on cosines. Default 0.01.
    pub anneal: f64,
}

impl Default for RecallAtKParams {
    fn default() -> Self {
        Self { ks: vec![1, 2, 4, 8, 16], temperature: 1.0, anneal: 0.01 }
    }
}

impl RecallAtKParams {
    /// The loss of the ranks of a query's positives, and its derivative by each.
    fn of_ranks(&self, ranks: &[f64]) -> (f64, Vec<f64>) {
        let mut slopes = vec![0.0; ranks.len()];
        let (mut value, by) = (0.0, 1.0 / self.ks.len() as f64);
        for &k in &self.ks {
            let most = k as f64;
            let hit = |rank: f64| 1.0 / (1.0 + ((rank - most) / self.temperature).exp());
            let hits: f64 = ranks.iter().map(|&rank| hit(rank)).sum();
            let possible = most.min(ranks.len() as f64);
            // Not `min`, which would hide what is not a number.
            let counted = if hits > most { most } else { hits };
            value += by * (1.0 - counted / possible);
            if hits <= most {
                for (slope, &rank) in slopes.iter_mut().zip(ranks) {
                    let hit = hit(rank);
                    *slope += by * hit * (1.0 - hit) / (self.temperature * possible);
                }
            }
        }
        (value, slopes)
    }
}

impl<T: Real> RowObjective<T> for RecallAtKParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let step = Sigmoid::new(self.anneal);
        let right: Vec<T> = row.positives().map(|j| row.scores[j]).collect();
        let (negatives, mut positives) = (Field::of_negatives(row), Field::new(right.clone()));
        let mut of_ranks: Vec<[Slopes<T>; 2]> = right.iter().map(|_| Default::default()).collect();
        let mut ranks = Vec::with_capacity(right.len());
        for (k, [of_right, of_wrong]) in of_ranks.iter_mut().enumerate() {
            let above = positives.count_from(&step, k, of_right) + negatives.count(&step, right[k], of_wrong);
            ranks.push(1.0 + above);
        }
        let (value, slopes) = self.of_ranks(&ranks);
        let weight: T = terms.add(0, T::of(value));
        let mut at_right = vec![T::zero(); right.len()];
        for (k, (&slope, [of_right, of_wrong])) in slopes.iter().zip(&of_ranks).enumerate() {
            // Ranks far beyond every k pull at nothing.
            if T::of(slope) == T::zero() {
                continue;
            }
            at_right[k] += of_wrong.pull(slope, gradient);
            let at_centre = of_right.pull(slope, &mut at_right);
            at_right[k] += at_centre;
        }
        row.positives().zip(&at_right).for_each(|(j, &g)| gradient[j] += g);
        vector::scale(gradient, weight);
    }
}

impl RowForm for RecallAtKParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let Some(gaps) = Gaps::new(scores, masks, false)? else { return no_terms(scores) };
        let above = compose(&gaps.gaps, self.anneal)?;
        let rank = ((above * (&gaps.positive + &gaps.negative)?)?.sum(1)? + 1.0)?;
        let (some, counts) = (any(&masks.positive)?, gaps.counts());
        let mut recall = counts.zeros_like()?;
        for &k in &self.ks {
            let most = k as f64;
            let hits = gaps.sum(&sigmoid(&((most - &rank)? / self.temperature)?, 50.0)?)?;
            // Not `minimum`, whose slope where both are equal is not that of a clamp.
            let hits = hits.gt(most)?.where_cond(&(hits.zeros_like()? + most)?, &hits)?;
            // 1 where there is no positive, and no term.
            let possible = (counts.clamp(0.0, most)? + (1.0 - &some)?)?;
            recall = (recall + (hits / possible)?)?;
        }
        Ok(vec![ComposedTerms::new((1.0 - (recall / self.ks.len() as f64)?)?, some)])
    }
}

impl LossParams for RecallAtKParams {
    const NAME: &'static str = "recall_at_k";

    fn check(&self) -> Result<()> {
        if self.ks.is_empty() || self.ks.contains(&0) {
            return Err(wrong(Self::NAME, format!("ks is {:?}: want one number or more, each 1 or more", self.ks)));
        }
        positive(Self::NAME, "temperature", self.temperature)?;
        positive(Self::NAME, "anneal", self.anneal)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default())]
    }
}
