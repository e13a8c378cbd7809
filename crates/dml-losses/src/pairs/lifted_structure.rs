//! Lifted structured loss.
//!
//! `mean over positive pairs (i, j) of ½ [J_ij]+²` with `J_ij = d_ij − m_p + log(Σ_{N(i)} e^{m_n − d_ik} + Σ_{N(j)} e^{m_n − d_jl})`;
//! for similarities `J_ij = m_p − s_ij + log(Σ e^{s − m_n})`. Both orders of a pair count. Oh Song et al., *Deep Metric
//! Learning via Lifted Structured Feature Embedding*, 2016, eq. 4, there without `m_p`, with `m_n` = 1 and vectors as they
//! are; we normalise by default, as pytorch-metric-learning. 0 without a positive or without a negative pair. Against
//! references only the anchor's own negatives enter, for a reference has none (pytorch-metric-learning takes its number
//! for an anchor's).
//!
//! The sums over the negatives of a row are taken once, not once for each of its pairs.

use crate::composed::{ComposedTerms, Masks, any, fill, hinge, log_sum_exp};
use crate::params::{LossParams, finite, metric};
use crate::row_loss::Space;
use crate::tabular::{Counting, Tabular};
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Reduction, Row, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Parameters of the lifted structured loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiftedStructureParams {
    /// Margin of negatives: the exponent of one at this distance is 0. Default 1.
    pub neg_margin: f64,
    /// Margin of positives, taken off their distance. Default 0.
    pub pos_margin: f64,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for LiftedStructureParams {
    fn default() -> Self {
        Self { neg_margin: 1.0, pos_margin: 0.0, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct Lifted {
    neg_margin: f64,
    pos_margin: f64,
    /// +1 for distances, −1 for similarities.
    sign: f64,
    /// Whether positives are anchors too, with negatives of their own.
    within: bool,
}

/// What one row has: the logarithm of the sum over its negatives, if it has any, and its positives.
struct Lifts {
    log: Option<f64>,
    positives: Vec<u32>,
}

impl Lifted {
    /// The row's lift; the shares of its negatives in the sum are added to `gradient`.
    #[inline(always)]
    fn lift<T: Real>(&self, row: &Row<'_, T>, kept: &mut Vec<T>, gradient: &mut [T]) -> Lifts {
        kept.clear();
        row.negative_ranges().for_each(|range| kept.extend_from_slice(&row.scores[range]));
        let log = vector::log_sum_exp(kept, T::of(-self.sign), T::zero()) + self.sign * self.neg_margin;
        let mut shares = kept.as_slice();
        for range in row.negative_ranges() {
            let (now, later) = shares.split_at(range.len());
            gradient[range].iter_mut().zip(now).for_each(|(g, &share)| *g += share);
            shares = later;
        }
        Lifts { log: (!kept.is_empty()).then_some(log), positives: row.positives.to_vec() }
    }
}

/// `log(e^a + e^b)` of what there is, 0 of nothing, and the shares of the two.
fn join(a: Option<f64>, b: Option<f64>) -> (f64, f64, f64) {
    match (a, b) {
        (None, None) => (0.0, 0.0, 0.0),
        (Some(a), None) => (a, 1.0, 0.0),
        (None, Some(b)) => (b, 0.0, 1.0),
        (Some(a), Some(b)) => {
            let top = if a > b { a } else { b };
            if top == f64::NEG_INFINITY {
                return (top, 0.0, 0.0);
            }
            let log = top + ((a - top).exp() + (b - top).exp()).ln();
            (log, (a - log).exp(), (b - log).exp())
        }
    }
}

impl Counting for Lifted {
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64> {
        let m = table.m;
        let rows = gradient.par_chunks_mut(m).enumerate();
        let lift = |kept: &mut Vec<T>, (i, g): (usize, &mut [T])| {
            table.with_row(
                i,
                #[inline(always)]
                |row| self.lift(row, kept, g),
            )
        };
        let rows: Vec<Lifts> = rows.map_init(Vec::new, lift).collect();
        let pairs: usize = rows.iter().map(|row| row.positives.len()).sum();
        if pairs == 0 || rows.iter().all(|row| row.log.is_none()) {
            gradient.fill(T::zero());
            return Ok(0.0);
        }
        seen.terms[0] = pairs as f64;
        let mut value = 0.0;
        // dL/d of each row's logarithm, and of each positive's distance.
        let mut lifts = vec![0f64; table.n];
        let mut pulls = Vec::with_capacity(pairs);
        for (i, row) in rows.iter().enumerate() {
            for j in row.positives.iter().map(|&j| j as usize) {
                let other = if self.within && j != i { rows[j].log } else { None };
                let (log, own, others) = join(row.log, other);
                let violation = self.sign * (table.row(i)[j].wide() - self.pos_margin) + log;
                // Not `max`, which hides what is not a number.
                let violation = if violation <= 0.0 { 0.0 } else { violation };
                seen.active[0] += f64::from(u8::from(violation > 0.0));
                value += 0.5 * violation * violation;
                let step = violation / pairs as f64;
                lifts[i] += step * own;
                if other.is_some() {
                    lifts[j] += step * others;
                }
                pulls.push((i * m + j, step));
            }
        }
        let sign = self.sign;
        gradient.par_chunks_mut(m).zip(&lifts).for_each(|(g, lift)| vector::scale(g, T::of(-sign * lift)));
        pulls.iter().for_each(|&(at, step)| gradient[at] += T::of(sign * step));
        Ok(value / pairs as f64)
    }
}

impl Lifted {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        /// Stands for the logarithm of nothing.
        const FAR: f64 = -1e30;
        let push = ((scores - self.neg_margin)? * -self.sign)?;
        let some = any(&masks.negative)?.unsqueeze(1)?;
        let own = fill(&some, &log_sum_exp(&masks.negative, &push)?.unsqueeze(1)?, FAR)?;
        let (n, m) = scores.dims2()?;
        let (log, lifted) = if self.within {
            let other = own.t()?;
            let top = own.broadcast_maximum(&other)?.detach();
            // A row is not twice the end of a pair with itself.
            let apart = (1.0 - Tensor::eye(n, scores.dtype(), scores.device())?)?;
            let others = (top.ones_like()?.broadcast_mul(&other)? - &top)?.exp()?.broadcast_mul(&apart)?;
            let sum = ((top.ones_like()?.broadcast_mul(&own)? - &top)?.exp()? + others)?;
            ((sum.log()? + &top)?, some.broadcast_add(&some.t()?)?)
        } else {
            (own.broadcast_as((n, m))?.contiguous()?, some.broadcast_as((n, m))?.contiguous()?)
        };
        let violation = (((scores - self.pos_margin)? * self.sign)? + fill(&lifted, &log, 0.0)?)?;
        // Without any negative there is no term at all.
        let counts = masks.positive.broadcast_mul(&some.max_all()?)?;
        Ok(vec![ComposedTerms::new((hinge(&violation)?.sqr()? * 0.5)?, counts)])
    }
}

struct LiftedStructure {
    params: LiftedStructureParams,
    sign: f64,
    tabular: Tabular,
}

impl Objective for LiftedStructure {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let LiftedStructureParams { neg_margin, pos_margin, .. } = self.params;
        let form = Lifted { neg_margin, pos_margin, sign: self.sign, within: batch.references.is_none() };
        self.tabular.evaluate(batch, &form, |scores, masks| form.compose(scores, masks))
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

impl LossParams for LiftedStructureParams {
    const NAME: &'static str = "lifted_structure";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "neg_margin", self.neg_margin)?;
        finite(Self::NAME, "pos_margin", self.pos_margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let tabular = Tabular::new(Space::new(metric, self.normalize), Reduction::Mean, context);
        Ok(Box::new(LiftedStructure { params: self.clone(), sign: metric.sign(), tabular }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { normalize: false, ..Self::default() }), ("pml", Self::default())]
    }
}
