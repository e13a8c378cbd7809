//! Dynamic soft margin loss.
//!
//! Each triplet's violation `v = d_ap − d_an` is weighted by how many violations are below it: `mean_t CDF[k_t]·v_t`, with the
//! CDF of a histogram over the batches so far. Of width `Δ = 2|v₀|/B`, its bins begin at v₀; a violation falls in bin
//! `k = ⌊(v − v₀)/Δ⌋` by `1 − α` and in the next by α, the remainder. `h ← (1 − μ)h + μ·(this batch)`, then over its sum; the first batch
//! counts whole. Zhang and Rusinkiewicz, *Learning Local Descriptors with a CDF-Based Dynamic Soft Margin*, 2019, §3.2; all triplets,
//! v₀ = −2, B = 10 and μ = 0.01 as in pytorch-metric-learning.
//!
//! As there the gradient goes through v and through α; the latter moves `CDF[k]` alone, so the derivative by v depends on the
//! bin only: `(CDF[k] − μ/(Z Δ)·Σ_{t in k} v_t)/T`, Z being what the histogram was divided by. Where pytorch-metric-learning
//! fails, beyond the last bin, both bins are the last one; below the first, all is in the first. The histogram is saved
//! state.

use super::triplet::pick;
use crate::composed::{ComposedTerms, Masks, no_terms};
use crate::params::{LossParams, finite, within, wrong};
use crate::row_loss::{Run, Sides, Space, TableForm, composed, fused_table};
use crate::{Batch, Context, Error, Evaluation, Kernel, Objective, Result};
use candle_core::{DType, Device, Tensor};
use dml_core::rowwise::{Memory, Statistics};
use dml_core::table::Table;
use dml_core::{Metric, Real, Reduction, Row};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Parameters of the dynamic soft margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DynamicSoftMarginParams {
    /// Where the bins begin, v₀; not 0. Default −2.
    pub min_val: f64,
    /// Number of bins B. Default 10.
    pub num_bins: usize,
    /// Weight μ of a batch. Default 0.01.
    pub momentum: f64,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for DynamicSoftMarginParams {
    fn default() -> Self {
        Self { min_val: -2.0, num_bins: 10, momentum: 0.01, normalize: true }
    }
}

/// The bins, and what fell in them before.
#[derive(Clone)]
struct Histogram {
    start: f64,
    width: f64,
    momentum: f64,
    heights: Vec<f64>,
}

/// Violations of a batch by bins; the first place is for those below the first bin.
#[derive(Clone)]
struct Seen {
    counts: Vec<f64>,
    sums: Vec<f64>,
    /// How many are above 0.
    active: f64,
}

impl Histogram {
    /// The weight of this batch.
    fn weight(&self) -> f64 {
        if self.heights.iter().all(|&height| height == 0.0) { 1.0 } else { self.momentum }
    }

    /// What heights are divided by after a batch of so many triplets.
    fn total(&self, triplets: f64) -> f64 {
        (1.0 - self.weight()) * self.heights.iter().sum::<f64>() + self.weight() * triplets
    }

    /// Takes a batch in; returns the cumulative heights of the bins, and the derivative of each bin's by its α.
    fn update(&mut self, seen: &Seen) -> (Vec<f64>, f64) {
        let (weight, last) = (self.weight(), self.heights.len() - 1);
        let total = self.total(seen.counts.iter().sum());
        self.heights.iter_mut().for_each(|height| *height *= 1.0 - weight);
        self.heights[0] += weight * seen.counts[0];
        for k in 0..=last {
            let (count, sum) = (seen.counts[k + 1], seen.sums[k + 1]);
            let alpha = if k == last { 0.0 } else { (sum - self.start * count) / self.width - k as f64 * count };
            self.heights[k] += weight * (count - alpha);
            self.heights[(k + 1).min(last)] += weight * alpha;
        }
        self.heights.iter_mut().for_each(|height| *height /= total);
        let cumulative = self.heights.iter().scan(0.0, |sum, height| {
            *sum += height;
            Some(*sum)
        });
        (cumulative.collect(), -weight / total)
    }
}

/// Calls `f` with every positive of a row and the negatives that it makes triplets with, as ranges.
fn each_positive<T: Real>(row: &Row<'_, T>, mut f: impl FnMut(usize, std::ops::Range<usize>)) {
    match row.triplets {
        Some(triplets) => triplets.iter().for_each(|&(p, q)| f(p as usize, q as usize..q as usize + 1)),
        None => row.positives().for_each(|p| row.negative_ranges().for_each(|range| f(p, range))),
    }
}

/// The loss of a table; it tells the histogram after it.
impl TableForm for Histogram {
    type Seen = (Statistics, Histogram);

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Self::Seen)> {
        let mut histogram = self.clone();
        let bins = histogram.heights.len();
        let (start, scale, most) = (T::of(histogram.start), T::of(1.0 / histogram.width), T::of(bins as f64));
        // 0 is below the first bin, so that a cast rounds down in all of them; what is not a number goes there too.
        let place = move |v: T| -> usize {
            let x = (v - start) * scale + T::one();
            let x = if x > most { most } else { x };
            let x = if x < T::zero() { T::zero() } else { x };
            x.to_usize().unwrap_or(0)
        };
        let none = Seen { counts: vec![0.0; bins + 1], sums: vec![0.0; bins + 1], active: 0.0 };
        let rows = (0..table.n).into_par_iter();
        let of_rows: Vec<Seen> = rows
            .map(|a| {
                let mut seen = none.clone();
                table.with_row(a, |row| {
                    each_positive(row, |p, range| {
                        let ap = row.scores[p];
                        for &an in &row.scores[range] {
                            let k = place(ap - an);
                            seen.counts[k] += 1.0;
                            seen.sums[k] += (ap - an).wide();
                            seen.active += f64::from(u8::from(ap > an));
                        }
                    });
                });
                seen
            })
            .collect();
        let mut seen = none;
        for row in &of_rows {
            seen.counts.iter_mut().zip(&row.counts).for_each(|(all, one)| *all += one);
            seen.sums.iter_mut().zip(&row.sums).for_each(|(all, one)| *all += one);
            seen.active += row.active;
        }
        let triplets: f64 = seen.counts.iter().sum();
        let statistics = Statistics { terms: [triplets, 0.0], active: [seen.active, 0.0], ..table.pairs() };
        if triplets == 0.0 {
            return Ok((0.0, (statistics, histogram)));
        }
        if seen.sums.iter().sum::<f64>().is_nan() {
            // The histogram is not to be spoilt for ever.
            gradient.fill(T::nan());
            return Ok((f64::NAN, (statistics, histogram)));
        }
        let (cumulative, by_alpha) = histogram.update(&seen);
        let value: f64 = cumulative[0] * seen.sums[0]
            + cumulative.iter().zip(&seen.sums[1..]).map(|(weight, sum)| weight * sum).sum::<f64>();
        // What is below the first bin is weighted by it.
        let weighted = |k: usize| if k == 1 { seen.sums[0] + seen.sums[1] } else { seen.sums[k] };
        let slope = |k: usize| {
            let through_alpha = if k == 0 || k == bins { 0.0 } else { by_alpha * weighted(k) / histogram.width };
            T::of((cumulative[k.saturating_sub(1)] + through_alpha) / triplets)
        };
        let slopes: Vec<T> = (0..=bins).map(slope).collect();
        gradient.par_chunks_mut(table.m).enumerate().for_each(|(a, gradient)| {
            table.with_row(a, |row| {
                each_positive(row, |p, range| {
                    let (ap, mut pull) = (row.scores[p], T::zero());
                    for (&an, g) in row.scores[range.clone()].iter().zip(&mut gradient[range]) {
                        let step = slopes[place(ap - an)];
                        pull += step;
                        *g -= step;
                    }
                    gradient[p] += pull;
                });
            });
        });
        Ok((value / triplets, (statistics, histogram)))
    }
}

struct DynamicSoftMargin {
    histogram: Histogram,
    space: Space,
    reduction: Reduction,
    kernel: Kernel,
    memory: Memory,
}

impl DynamicSoftMargin {
    fn compose(&mut self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (dtype, device) = (scores.dtype(), scores.device());
        let named = masks.rows.iter().any(|row| row.triplets.is_some());
        let (mut anchors, mut positives, mut negatives) = (Vec::new(), Vec::new(), Vec::new());
        for (a, row) in masks.rows.iter().enumerate() {
            for &(p, q) in row.triplets.as_deref().unwrap_or_default() {
                anchors.push(a as u32);
                positives.push(p);
                negatives.push(q);
            }
        }
        if !named {
            (anchors, positives) = masks.positive_pairs();
        }
        if anchors.is_empty() {
            return no_terms(scores);
        }
        let ap = pick(scores, &anchors, &positives)?.unsqueeze(1)?;
        let (an, counts) = if named {
            let an = pick(scores, &anchors, &negatives)?.unsqueeze(1)?;
            (an.clone(), an.ones_like()?)
        } else {
            let rows = Tensor::new(&anchors[..], device)?;
            (scores.index_select(&rows, 0)?, masks.negative.index_select(&rows, 0)?)
        };
        let violations = ap.broadcast_sub(&an)?;
        let triplets: f64 = counts.sum_all()?.to_dtype(DType::F64)?.to_scalar()?;
        if triplets == 0.0 {
            return no_terms(scores);
        }
        let histogram = &self.histogram;
        let (bins, weight) = (histogram.heights.len(), histogram.weight());
        let x = ((&violations - histogram.start)? / histogram.width)?;
        let k = x.detach().floor()?.clamp(0.0, (bins - 1) as f64)?;
        // Neither below the first bin nor in the last is there an α.
        let between = (x.detach().ge(0.0)? * k.lt((bins - 1) as f64)?)?;
        let alpha = between.where_cond(&(&x - &k)?, &x.zeros_like()?)?;
        let index = k.flatten_all()?.to_dtype(DType::U32)?;
        let next = k.affine(1.0, 1.0)?.clamp(0.0, (bins - 1) as f64)?.flatten_all()?.to_dtype(DType::U32)?;
        let here = ((1.0 - &alpha)? * &counts)?.flatten_all()?;
        let there = (alpha * &counts)?.flatten_all()?;
        let seen = Tensor::zeros(bins, dtype, device)?.index_add(&index, &here, 0)?.index_add(&next, &there, 0)?;
        let old = Tensor::new(&histogram.heights[..], device)?.to_dtype(dtype)?;
        let heights = (((old * (1.0 - weight))? + (seen * weight)?)? / histogram.total(triplets))?;
        let weights = heights.cumsum(0)?.index_select(&index, 0)?.reshape(violations.shape())?;
        let new: Vec<f64> = heights.detach().to_dtype(DType::F64)?.to_vec1()?;
        if new.iter().all(|height| height.is_finite()) {
            self.histogram.heights = new;
        }
        Ok(vec![ComposedTerms { values: (weights * violations)?, counts, anchors: Some(anchors) }])
    }
}

impl Objective for DynamicSoftMargin {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (relevance, sides) = (batch.named(true)?, Sides::of(batch));
        let relevance = relevance.as_ref();
        if sides.fused(self.kernel) && self.reduction == Reduction::Mean {
            let (loss, (statistics, histogram)) = fused_table(sides, self.space, relevance, &self.histogram)?;
            self.histogram = histogram;
            return Ok(Evaluation { loss, statistics });
        }
        let (reduction, space, memory) = (self.reduction.clone(), self.space, self.memory);
        let run = Run { space, relevance, reduction: &reduction, weights: &[], memory };
        composed(sides, &run, |scores, masks| self.compose(scores, masks))
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(vec![("histogram".to_owned(), Tensor::new(&self.histogram.heights[..], &Device::Cpu)?)])
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let missing = || Error::State("histogram is missing".to_owned());
        let heights: Vec<f64> = state.get("histogram").ok_or_else(missing)?.to_dtype(DType::F64)?.to_vec1()?;
        let (given, bins) = (heights.len(), self.histogram.heights.len());
        if given != bins {
            return Err(Error::State(format!(
                "histogram has {given} bins but the loss has {bins}: set num_bins to {given}"
            )));
        }
        self.histogram.heights = heights;
        Ok(())
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for DynamicSoftMarginParams {
    const NAME: &'static str = "dynamic_soft_margin";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "min_val", self.min_val)?;
        if self.min_val == 0.0 {
            return Err(wrong(
                Self::NAME,
                "min_val is 0: want another number, bins are 2|min_val|/num_bins wide".to_owned(),
            ));
        }
        within(Self::NAME, "num_bins", self.num_bins, 1, 1 << 20)?;
        within(Self::NAME, "momentum", self.momentum, 0.0, 1.0)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let histogram = Histogram {
            start: self.min_val,
            width: 2.0 * self.min_val.abs() / self.num_bins as f64,
            momentum: self.momentum,
            heights: vec![0.0; self.num_bins],
        };
        Ok(Box::new(DynamicSoftMargin {
            histogram,
            space: Space::new(Metric::Euclidean, self.normalize),
            reduction: context.reduction.clone().unwrap_or(Reduction::Mean),
            kernel: context.kernel,
            memory: context.memory,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
