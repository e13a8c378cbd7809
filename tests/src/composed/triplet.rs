//! Triplet loss: all and semi-hard triplets as a matrix of positive pairs × references, batch-hard ones by two maxima.

use super::masks::{Masks, any};
use super::nothing;
use super::terms::{largest, mean, mean_above_zero, smallest};
use candle_core::Tensor;
use dml_core::{Metric, l2_normalize, pairwise};
use dml_losses::pairs::triplet::{TripletMining, TripletParams};
use dml_losses::{Objective, Result};

pub(super) struct Triplet {
    params: TripletParams,
    metric: Metric,
}

impl Triplet {
    pub(super) fn new(params: TripletParams) -> Result<Self> {
        Ok(Self { metric: params.metric.parse()?, params })
    }

    /// Every positive pair with every negative of its anchor: `[P, n]`, where the cube of all indices has `n³` places.
    fn all(&self, distances: &Tensor, masks: &Masks, labels: &[u32]) -> Result<Tensor> {
        let rows = 0..labels.len();
        let pair = |i: usize, j: usize| (i != j && labels[i] == labels[j]).then_some((i as u32, j as u32));
        let pairs = rows.clone().flat_map(|i| rows.clone().filter_map(move |j| pair(i, j)));
        let (anchors, positives): (Vec<u32>, Vec<u32>) = pairs.unzip();
        if anchors.is_empty() {
            return nothing(distances);
        }
        let anchors = Tensor::new(anchors, distances.device())?;
        let positives = Tensor::new(positives, distances.device())?.unsqueeze(1)?;
        let negative = distances.index_select(&anchors, 0)?;
        let positive = negative.gather(&positives, 1)?;
        let mut mask = masks.negative.index_select(&anchors, 0)?;
        if self.params.mining == TripletMining::SemiHard {
            mask = (mask * negative.broadcast_gt(&positive)?)?;
        }
        mean_above_zero(&mask, &(positive.broadcast_sub(&negative)? + f64::from(self.params.margin))?)
    }

    /// Furthest positive with nearest negative of each anchor.
    fn batch_hard(&self, distances: &Tensor, masks: &Masks) -> Result<Tensor> {
        let complete = (any(&masks.positive)? * any(&masks.negative)?)?;
        let furthest = largest(&masks.positive, distances)?;
        let nearest = smallest(&masks.negative, distances)?;
        let violation = ((furthest - nearest)? + f64::from(self.params.margin))?;
        if self.params.soft { mean(&complete, &softplus(&violation)?) } else { mean_above_zero(&complete, &violation) }
    }
}

/// `log(1 + e^x)` without overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?)
}

impl Objective for Triplet {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let x = if self.params.normalize { l2_normalize(embeddings)? } else { embeddings.clone() };
        let sign = if self.metric.is_similarity() { -1.0 } else { 1.0 };
        let distances = (pairwise(self.metric, &x, &x)? * sign)?;
        let masks = Masks::within(labels, embeddings.device())?;
        match self.params.mining {
            TripletMining::BatchHard => self.batch_hard(&distances, &masks),
            TripletMining::All | TripletMining::SemiHard => self.all(&distances, &masks, labels),
        }
    }
}
