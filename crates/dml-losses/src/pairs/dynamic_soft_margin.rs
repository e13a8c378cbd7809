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

mod histogram;

use super::triplet::pick;
use crate::composed::{ComposedTerms, Masks, no_terms};
use crate::params::{LossParams, finite, within, wrong};
use crate::row_loss::{Sides, Space, composed, fused_table};
use crate::setting::Setting;
use crate::{Batch, Context, Error, Evaluation, Objective, Result};
use candle_core::{DType, Device, Tensor};
use dml_core::{Metric, Reduction};
use histogram::Histogram;
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

struct DynamicSoftMargin {
    histogram: Histogram,
    setting: Setting,
}

impl Histogram {
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
        let (bins, weight) = (self.heights.len(), self.weight());
        let x = ((&violations - self.start)? / self.width)?;
        let k = x.detach().floor()?.clamp(0.0, (bins - 1) as f64)?;
        // Neither below the first bin nor in the last is there an α.
        let between = (x.detach().ge(0.0)? * k.lt((bins - 1) as f64)?)?;
        let alpha = between.where_cond(&(&x - &k)?, &x.zeros_like()?)?;
        let index = k.flatten_all()?.to_dtype(DType::U32)?;
        let next = k.affine(1.0, 1.0)?.clamp(0.0, (bins - 1) as f64)?.flatten_all()?.to_dtype(DType::U32)?;
        let here = ((1.0 - &alpha)? * &counts)?.flatten_all()?;
        let there = (alpha * &counts)?.flatten_all()?;
        let seen = Tensor::zeros(bins, dtype, device)?.index_add(&index, &here, 0)?.index_add(&next, &there, 0)?;
        let old = Tensor::new(&self.heights[..], device)?.to_dtype(dtype)?;
        let heights = (((old * (1.0 - weight))? + (seen * weight)?)? / self.total(triplets))?;
        let weights = heights.cumsum(0)?.index_select(&index, 0)?.reshape(violations.shape())?;
        let new: Vec<f64> = heights.detach().to_dtype(DType::F64)?.to_vec1()?;
        if new.iter().all(|height| height.is_finite()) {
            self.heights = new;
        }
        Ok(vec![ComposedTerms { values: (weights * violations)?, counts, anchors: Some(anchors) }])
    }
}

impl Objective for DynamicSoftMargin {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let Self { histogram, setting } = self;
        let (relevance, sides) = (batch.named(true)?, Sides::of(batch));
        let relevance = relevance.as_ref();
        if sides.fused(setting.kernel) && setting.reduction == Reduction::Mean {
            let (loss, (statistics, after)) = fused_table(sides, setting.space, relevance, &*histogram)?;
            *histogram = after;
            return Ok(Evaluation { loss, statistics });
        }
        composed(sides, &setting.run(relevance, &[]), |scores, masks| histogram.compose(scores, masks))
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
        let space = Space::new(Metric::Euclidean, self.normalize);
        Ok(Box::new(DynamicSoftMargin { histogram, setting: Setting::new(space, Reduction::Mean, context) }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
