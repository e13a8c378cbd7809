//! Negatives drawn by the inverse density of distances on a sphere: what the distance-weighted miners share.
//!
//! Points uniform on the unit sphere of d dimensions lie at distance t with density `q(t) ∝ t^{d−2} (1 − t²/4)^{(d−3)/2}`; an anchor's
//! negative n is drawn with probability ∝ `1/q(max(t_n, cutoff))`, and never from `nonzero_loss_cutoff` on. Wu et al.,
//! *Sampling Matters in Deep Embedding Learning*, 2017, eq. 3 and §4. Weights are taken relative to the largest of the anchor, so
//! that no anchor loses its negatives to underflow, as happens in pytorch-metric-learning.

use super::rows::{Find, find, own_column};
use crate::chance::Draw;
use crate::params::{metric, not_negative, wrong};
use crate::row_loss::Space;
use crate::{Batch, Result, Tuples};
use dml_core::{Metric, Real, Row};
use rand::Rng;

/// What the distance-weighted miners are told.
pub(crate) struct Sphere {
    pub(crate) cutoff: f64,
    pub(crate) nonzero_loss_cutoff: f64,
    /// Probability with which the negative is a positive.
    pub(crate) swap: f64,
}

impl Sphere {
    pub(crate) fn check(&self, miner: &str, space: (&str, bool)) -> Result<()> {
        unit_euclidean(miner, space)?;
        not_negative(miner, "cutoff", self.cutoff)?;
        let (low, high) = (self.cutoff, self.nonzero_loss_cutoff);
        if high.is_nan() || low >= high {
            return Err(wrong(miner, format!("nonzero_loss_cutoff is {high}: want more than cutoff, which is {low}")));
        }
        Ok(())
    }

    /// One triplet of each anchor for each sample of its class (itself included, where it is among the references), of
    /// a random positive and a weighted negative.
    pub(crate) fn mine(&self, batch: &Batch<'_>, draw: Draw) -> Result<Tuples> {
        let dim = batch.embeddings.dims2()?.1 as f64;
        let rows = find(Space::new(Metric::Euclidean, true), batch, &Drawn { sphere: self, batch, dim, draw })?;
        Ok(Tuples::Triplets(rows.concat()))
    }
}

/// Refuses other spaces than that of unit vectors at Euclidean distances.
pub(crate) fn unit_euclidean(miner: &str, (name, normalize): (&str, bool)) -> Result<()> {
    if metric(miner, name)? != Metric::Euclidean {
        return Err(wrong(miner, format!("metric is {name}: want euclidean, which the weights are made for")));
    }
    if normalize { Ok(()) } else { Err(wrong(miner, "normalize is false: want true, points of a sphere".to_owned())) }
}

struct Drawn<'a> {
    sphere: &'a Sphere,
    batch: &'a Batch<'a>,
    dim: f64,
    draw: Draw,
}

impl Drawn<'_> {
    /// `−log q`; `None` where the negative is never drawn.
    fn log_weight(&self, distance: f64) -> Option<f64> {
        let t = distance.max(self.sphere.cutoff);
        let log = (2.0 - self.dim) * t.ln() - (self.dim - 3.0) / 2.0 * (1.0 - 0.25 * t * t).ln();
        (t < self.sphere.nonzero_loss_cutoff && log.is_finite()).then_some(log)
    }

    /// Negatives with the running sums of their weights.
    fn negatives<T: Real>(&self, row: &Row<'_, T>) -> (Vec<u32>, Vec<f64>) {
        let weigh = |j: usize| Some((j as u32, self.log_weight(row.scores[j].wide())?));
        let (columns, logs): (Vec<u32>, Vec<f64>) = row.negatives().filter_map(weigh).unzip();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        let sums = logs.iter().map(|log| {
            sum += (log - top).exp();
            sum
        });
        let sums = sums.collect();
        (columns, sums)
    }
}

impl Find for Drawn<'_> {
    type Found = Vec<[u32; 3]>;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let (anchor, positives) = (row.anchor as u32, row.positives);
        if positives.is_empty() {
            return Vec::new();
        }
        let own = own_column(self.batch, row.anchor);
        let (negatives, sums) = self.negatives(row);
        let mut rng = self.draw.generator(row.anchor as u64);
        let mut found = Vec::new();
        for _ in 0..positives.len() + usize::from(own.is_some()) {
            let k = rng.random_range(0..positives.len());
            if self.sphere.swap > 0.0 && rng.random::<f64>() < self.sphere.swap {
                match own {
                    // The anchor with itself: all that the triplet does is to push a positive away.
                    Some(own) => found.push([anchor, own, positives[k]]),
                    None if positives.len() > 1 => {
                        let other = (k + rng.random_range(1..positives.len())) % positives.len();
                        found.push([anchor, positives[k], positives[other]]);
                    }
                    None => {}
                }
            } else if let Some(&total) = sums.last() {
                let at = rng.random::<f64>() * total;
                let n = sums.partition_point(|&sum| sum <= at).min(negatives.len() - 1);
                found.push([anchor, positives[k], negatives[n]]);
            }
        }
        found
    }
}
