//! ROADMAP: an upper bound of 1 − AP that decomposes over batches, and a calibration of similarities.
//!
//! SupAP: `AP_q = mean_P rank⁺/(rank⁺ + Σ_N H(s_n − s_p))`, where `rank⁺(p) = 1 + #{other positives with s ≥ s_p}` takes no gradient and
//! `H(t)` is `σ(t/τ)` up to 0, `½ + σ(t/τ)` up to δ, and `ρt + offset` beyond. The loss is
//! `(1 − λ)·mean_q (1 − AP_q) + λ·(mean of [0.9 − s]+ over positive pairs + mean of [s − 0.6]+ over negative pairs)`, means over the
//! terms above 0, queries without a positive left out of the first. Ramzi et al., *Robust and Decomposable Average Precision for Image Retrieval*, 2021, eq. 4–7;
//! constants (τ = 0.01, ρ = 100, δ = 0.05, offset 1.44, λ = ½) are those of the authors' code, where H, unlike in the paper, has a jump
//! at δ. Cosine. Not in pytorch-metric-learning. Mined tuples narrow who is a positive and a negative.

use super::gaps::Gaps;
use super::soft_rank::{Field, Sigmoid, Slopes, Step, compose};
use crate::composed::{ComposedTerms, Masks, no_terms};
use crate::pairs::contrastive::Contrastive;
use crate::params::{LossParams, finite, not_negative, positive, within};
use crate::row_loss::{Fused, RowForm, Run, Sides, Space, TableForm, composed, fused, fused_table};
use crate::{Batch, Context, Evaluation, Kernel, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::{Memory, RowObjective, Statistics};
use dml_core::table::Table;
use dml_core::{Metric, Real, Reduction, Row, Terms, over, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Parameters of ROADMAP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoadmapParams {
    /// Temperature τ of the sigmoids. Default 0.01.
    pub tau: f64,
    /// Slope ρ beyond δ. Default 100.
    pub rho: f64,
    /// Gap δ from which on the slope is ρ. Default 0.05.
    pub delta: f64,
    /// Value of that line at gap 0. Default 1.44.
    pub offset: f64,
    /// Positives more similar than this are left alone by the calibration. Default 0.9.
    pub pos_margin: f64,
    /// Negatives less similar than this are left alone by the calibration. Default 0.6.
    pub neg_margin: f64,
    /// Share λ of the calibration. Default 0.5.
    pub lambda: f64,
}

impl Default for RoadmapParams {
    fn default() -> Self {
        Self { tau: 0.01, rho: 100.0, delta: 0.05, offset: 1.44, pos_margin: 0.9, neg_margin: 0.6, lambda: 0.5 }
    }
}

/// H.
struct Ramp<T> {
    sigmoid: Sigmoid<T>,
    delta: T,
    rho: T,
    offset: T,
}

impl<T: Real> Step<T> for Ramp<T> {
    #[inline(always)]
    fn at(&self, gap: T) -> (T, T) {
        let (value, slope) = self.sigmoid.at(gap);
        let value = if gap > T::zero() { value + T::of(0.5) } else { value };
        let line = self.rho * gap + self.offset;
        if gap > self.delta { (line, self.rho) } else { (value, slope) }
    }

    fn flat(&self) -> (T, T) {
        (-self.sigmoid.reach(), T::infinity())
    }
}

impl RoadmapParams {
    /// `1 − AP` of a row that has a positive; adds its derivative to `gradient`.
    #[inline(always)]
    fn ranking<T: Real>(&self, row: &Row<'_, T>, gradient: &mut [T]) -> f64 {
        let step = Ramp {
            sigmoid: Sigmoid::new(self.tau),
            delta: T::of(self.delta),
            rho: T::of(self.rho),
            offset: T::of(self.offset),
        };
        let (negatives, mut slopes) = (Field::of_negatives(row), Slopes::default());
        let right: Vec<T> = row.positives().map(|j| row.scores[j]).collect();
        let by = 1.0 / right.len() as f64;
        let mut value = 0.0;
        for (j, &centre) in row.positives().zip(&right) {
            // The positive itself is among them.
            let above = vector::sum_of(&right, |s| if s >= centre { T::one() } else { T::zero() });
            let wrong = negatives.count(&step, centre, &mut slopes);
            let rank = above + wrong;
            value += by * wrong / rank;
            let at_centre = slopes.pull(by * above / (rank * rank), gradient);
            gradient[j] += at_centre;
        }
        value
    }

    fn calibration(&self) -> Contrastive {
        Contrastive { pos_margin: self.pos_margin, neg_margin: self.neg_margin, sign: -1.0, squared: false }
    }
}

/// What one row adds: values and numbers of its terms (its query, its positive pairs, its negative pairs), and numbers and
/// summed scores of its pairs.
#[derive(Clone, Copy, Default)]
struct Seen {
    terms: [(f64, f64); 3],
    pairs: [(f64, f64); 2],
}

impl Seen {
    fn add(&mut self, other: &Self) {
        let mine = self.terms.iter_mut().chain(&mut self.pairs);
        mine.zip(other.terms.iter().chain(&other.pairs)).for_each(|(a, b)| *a = (a.0 + b.0, a.1 + b.1));
    }

    fn statistics(&self) -> Statistics {
        let [(positive_pairs, positives), (negative_pairs, negatives)] = self.pairs;
        // Those of the calibration, as it has two groups of terms.
        let terms = [self.terms[1].1, self.terms[2].1];
        let (mean_positive, mean_negative) = (positives * over(positive_pairs), negatives * over(negative_pairs));
        Statistics { terms, active: terms, positive_pairs, mean_positive, negative_pairs, mean_negative }
    }
}

/// The whole loss in one pass over the scores: its means go over all rows, so they are known only after the first.
struct Whole<'a>(&'a RoadmapParams);

impl TableForm for Whole<'_> {
    type Seen = Statistics;

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Statistics)> {
        if table.m == 0 {
            return Ok((0.0, Statistics::default()));
        }
        let params = self.0;
        let (pos_margin, neg_margin) = (T::of(params.pos_margin), T::of(params.neg_margin));
        let first = |(i, g): (usize, &mut [T])| {
            table.with_row(
                i,
                #[inline(always)]
                |row| {
                    let mut seen = Seen::default();
                    if !row.positives.is_empty() {
                        seen.terms[0] = (params.ranking(row, g), 1.0);
                    }
                    for score in row.positives().map(|j| row.scores[j]) {
                        seen.terms[1].0 += vector::hinge(pos_margin - score).0.wide();
                        seen.terms[1].1 += vector::hinge(pos_margin - score).1.wide();
                        seen.pairs[0].0 += 1.0;
                        seen.pairs[0].1 += score.wide();
                    }
                    for range in row.negative_ranges() {
                        let scores = &row.scores[range];
                        seen.terms[2].0 += vector::sum_of(scores, |s| vector::hinge(s - neg_margin).0);
                        seen.terms[2].1 += vector::sum_of(scores, |s| vector::hinge(s - neg_margin).1);
                        seen.pairs[1].0 += scores.len() as f64;
                        seen.pairs[1].1 += vector::sum(scores);
                    }
                    seen
                },
            )
        };
        let rows: Vec<Seen> = gradient.par_chunks_mut(table.m).enumerate().map(first).collect();
        let mut all = Seen::default();
        rows.iter().for_each(|row| all.add(row));
        let shares = [1.0 - params.lambda, params.lambda, params.lambda];
        let weights = [0, 1, 2].map(|k| shares[k] * over(all.terms[k].1));
        let [of_query, of_positive, of_negative] = weights.map(T::of);
        gradient.par_chunks_mut(table.m).enumerate().for_each(|(i, g)| {
            table.with_row(i, |row| {
                vector::scale(g, of_query);
                for j in row.positives() {
                    g[j] -= of_positive * vector::hinge(pos_margin - row.scores[j]).1;
                }
                for range in row.negative_ranges() {
                    let scores = &row.scores[range.clone()];
                    g[range]
                        .iter_mut()
                        .zip(scores)
                        .for_each(|(g, &s)| *g += of_negative * vector::hinge(s - neg_margin).1);
                }
            });
        });
        Ok(((0..3).map(|k| weights[k] * all.terms[k].0).sum(), all.statistics()))
    }
}

/// The first summand alone, for reductions other than the loss's own and tables that are not held whole.
struct SupAp<'a>(&'a RoadmapParams);

impl<T: Real> RowObjective<T> for SupAp<'_> {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if !row.positives.is_empty() {
            let value = self.0.ranking(row, gradient);
            let weight = terms.add(0, T::of(value));
            vector::scale(gradient, weight);
        }
    }
}

impl SupAp<'_> {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let Some(gaps) = Gaps::new(scores, masks, false)? else { return no_terms(scores) };
        let (RoadmapParams { tau, rho, delta, offset, .. }, gap) = (self.0, &gaps.gaps);
        let dtype = gap.dtype();
        let soft = compose(gap, *tau)?;
        let soft = (soft + (gap.gt(0.0)?.to_dtype(dtype)? * 0.5)?)?;
        let step = gap.gt(*delta)?.where_cond(&((gap * *rho)? + *offset)?, &soft)?;
        let right = ((gap.ge(0.0)?.to_dtype(dtype)? * &gaps.positive)?.sum(1)? + 1.0)?;
        let wrong = (step * &gaps.negative)?.sum(1)?;
        gaps.mean(&(&wrong / (right + &wrong)?)?)
    }
}

struct Roadmap {
    params: RoadmapParams,
    reduction: Option<Reduction>,
    kernel: Kernel,
    memory: Memory,
}

/// Scores above this number are not held whole.
const LARGEST_WHOLE: usize = 1 << 26;

impl Objective for Roadmap {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let relevance = batch.named(false)?;
        let relevance = relevance.as_ref();
        let (sides, space) = (Sides::of(batch), Space::new(Metric::Cosine, true));
        let is_fused = sides.fused(self.kernel) && self.reduction != Some(Reduction::None);
        let whole = match self.memory {
            Memory::Auto => relevance.anchors().saturating_mul(relevance.references()) <= LARGEST_WHOLE,
            Memory::Whole => true,
            Memory::Rows(_) => false,
        };
        if is_fused && whole && self.reduction.is_none() {
            let (loss, statistics) = fused_table(sides, space, relevance, &Whole(&self.params))?;
            return Ok(Evaluation { loss, statistics });
        }
        let (ap, calibration) = (SupAp(&self.params), self.params.calibration());
        let by_default = [Reduction::Mean, Reduction::MeanNonZero];
        let [of_queries, of_pairs] = by_default.map(|default| self.reduction.clone().unwrap_or(default));
        let run = |reduction| Run { space, relevance, reduction, weights: &[], memory: self.memory };
        let (of_queries, of_pairs) = (run(&of_queries), run(&of_pairs));
        let (ranking, calibration) = if is_fused {
            let Fused { loss: ranking, .. } = fused(sides, &of_queries, &ap)?;
            let Fused { loss, statistics, .. } = fused(sides, &of_pairs, &calibration)?;
            (ranking, Evaluation { loss, statistics })
        } else {
            let ranking = composed(sides, &of_queries, |scores, masks| ap.compose(scores, masks))?.loss;
            (ranking, composed(sides, &of_pairs, |scores, masks| calibration.compose(scores, masks))?)
        };
        let lambda = self.params.lambda;
        let loss = ((ranking * (1.0 - lambda))? + (calibration.loss * lambda)?)?;
        Ok(Evaluation { loss, statistics: calibration.statistics })
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for RoadmapParams {
    const NAME: &'static str = "roadmap";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "tau", self.tau)?;
        not_negative(Self::NAME, "rho", self.rho)?;
        not_negative(Self::NAME, "delta", self.delta)?;
        not_negative(Self::NAME, "offset", self.offset)?;
        finite(Self::NAME, "pos_margin", self.pos_margin)?;
        finite(Self::NAME, "neg_margin", self.neg_margin)?;
        within(Self::NAME, "lambda", self.lambda, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Roadmap {
            params: self.clone(),
            reduction: context.reduction.clone(),
            kernel: context.kernel,
            memory: context.memory,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("authors", Self::default())]
    }
}
