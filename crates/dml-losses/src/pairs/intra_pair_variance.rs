//! Intra-pair variance loss.
//!
//! `mean over positive pairs of [(1 − ε_p)·μ_p − s]+²  +  mean over negative pairs of [s − (1 + ε_n)·μ_n]+²`, with s the
//! cosine and μ the mean over the positive, and the negative, pairs of the batch: similarities of one kind shall not be
//! worse than their mean. The gradient goes through the means. Yu & Tao, *Deep Metric Learning with Tuplet Margin Loss*,
//! 2019. As pytorch-metric-learning; a side without a pair is 0. The paper adds it to the tuplet margin loss.

use crate::composed::{ComposedTerms, Masks, fill, hinge};
use crate::params::{LossParams, finite};
use crate::row_loss::Space;
use crate::tabular::{Counting, Tabular};
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Metric, Real, Reduction, Row, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Parameters of the intra-pair variance loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntraPairVarianceParams {
    /// Share of their mean that positives may be below it. Default 0.01.
    pub pos_eps: f64,
    /// Share of their mean that negatives may be above it. Default 0.01.
    pub neg_eps: f64,
}

impl Default for IntraPairVarianceParams {
    fn default() -> Self {
        Self { pos_eps: 0.01, neg_eps: 0.01 }
    }
}

/// Sums over the pairs of a row, or of all: a number for positives and one for negatives.
type Both = [f64; 2];

/// The two kinds of pairs of a row.
const KINDS: [usize; 2] = [0, 1];

fn ranges<'a, T: Real>(row: &Row<'a, T>, kind: usize) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
    if kind == 0 { Box::new(row.positives().map(|j| j..j + 1)) } else { Box::new(row.negative_ranges()) }
}

/// `Σ f(score)` over the pairs of each kind.
fn over_pairs<T: Real>(table: &Table<'_, T>, f: impl Fn(usize, T) -> T + Sync) -> Both {
    let of_row = |row: &Row<'_, T>| {
        KINDS.map(|kind| ranges(row, kind).map(|range| vector::sum_of(&row.scores[range], |s| f(kind, s))).sum::<f64>())
    };
    let rows: Vec<Both> = (0..table.n).into_par_iter().map(|i| table.with_row(i, of_row)).collect();
    KINDS.map(|kind| rows.iter().map(|row| row[kind]).sum())
}

impl Counting for IntraPairVarianceParams {
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64> {
        seen.terms = [seen.positive_pairs, seen.negative_pairs];
        let counts = seen.terms.map(|count| if count > 0.0 { count } else { 1.0 });
        let means = [seen.mean_positive, seen.mean_negative];
        // Of each kind: which way is worse, and how much of the mean the threshold is.
        let (signs, shares) = ([-1.0, 1.0], [1.0 - self.pos_eps, 1.0 + self.neg_eps]);
        let thresholds = KINDS.map(|kind| T::of(shares[kind] * means[kind]));
        let violation = |kind: usize, s: T| vector::hinge(T::of(signs[kind]) * (s - thresholds[kind])).0;
        let first = over_pairs(table, violation);
        let second = over_pairs(table, |kind, s| {
            let violation = violation(kind, s);
            violation * violation
        });
        let active = |kind, s| if violation(kind, s) > T::zero() { T::one() } else { T::zero() };
        seen.active = over_pairs(table, active);
        // Through its own score, and through the mean, which all pairs share.
        let own = KINDS.map(|kind| T::of(2.0 * signs[kind] / counts[kind]));
        let shared = KINDS.map(|kind| T::of(-2.0 * signs[kind] * shares[kind] * first[kind] / counts[kind].powi(2)));
        gradient.par_chunks_mut(table.m).enumerate().for_each(|(i, gradient)| {
            table.with_row(i, |row| {
                for kind in KINDS {
                    for range in ranges(row, kind) {
                        for (g, &s) in gradient[range.clone()].iter_mut().zip(&row.scores[range]) {
                            *g += own[kind] * violation(kind, s) + shared[kind];
                        }
                    }
                }
            });
        });
        Ok(KINDS.map(|kind| second[kind] / counts[kind]).iter().sum())
    }
}

impl IntraPairVarianceParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let side = |mask: &Tensor, sign: f64, share: f64| -> Result<ComposedTerms> {
            let count = mask.sum_all()?;
            let count = (&count + count.le(0.0)?.to_dtype(count.dtype())?)?;
            let mean = ((fill(mask, scores, 0.0)? * mask)?.sum_all()? / count)?;
            let violation = hinge(&(scores.broadcast_sub(&(mean * share)?)? * sign)?)?;
            Ok(ComposedTerms::new(violation.sqr()?, mask.clone()))
        };
        Ok(vec![side(&masks.positive, -1.0, 1.0 - self.pos_eps)?, side(&masks.negative, 1.0, 1.0 + self.neg_eps)?])
    }
}

struct IntraPairVariance {
    params: IntraPairVarianceParams,
    tabular: Tabular,
}

impl Objective for IntraPairVariance {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        self.tabular.evaluate(batch, &self.params, |scores, masks| self.params.compose(scores, masks))
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

impl LossParams for IntraPairVarianceParams {
    const NAME: &'static str = "intra_pair_variance";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "pos_eps", self.pos_eps)?;
        finite(Self::NAME, "neg_eps", self.neg_eps)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let tabular = Tabular::new(Space::new(Metric::Cosine, true), Reduction::Mean, context);
        Ok(Box::new(IntraPairVariance { params: self.clone(), tabular }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
