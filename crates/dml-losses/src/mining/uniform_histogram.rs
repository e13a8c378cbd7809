//! Pairs drawn evenly over their scores: so many of each bin of a histogram.
//!
//! The scores of all positive pairs, from the smallest to the largest, are cut into equal bins, and from each bin that is not
//! empty `pos_per_bin` pairs are drawn with replacement; negative pairs likewise. As in pytorch-metric-learning.

use super::rows::{AllPairs, ScoredPair, find};
use super::{Miner, MinerParams};
use crate::chance::{Chance, Draw};
use crate::params::{metric, within};
use crate::row_loss::Space;
use crate::{Batch, Context, Result, Tuples};
use candle_core::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Parameters of the histogram miner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniformHistogramParams {
    /// Number of bins. Default 100.
    pub num_bins: usize,
    /// Positive pairs of each bin. Default 10.
    pub pos_per_bin: usize,
    /// Negative pairs of each bin. Default 10.
    pub neg_per_bin: usize,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for UniformHistogramParams {
    fn default() -> Self {
        Self { num_bins: 100, pos_per_bin: 10, neg_per_bin: 10, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct UniformHistogram {
    params: UniformHistogramParams,
    space: Space,
    chance: Chance,
}

/// Draws `per_bin` pairs of each bin, by anchor and column.
fn drawn(rows: &[&Vec<ScoredPair>], bins: usize, per_bin: usize, draw: Draw, side: u64) -> Vec<(u32, u32)> {
    let all = || rows.iter().enumerate().flat_map(|(a, row)| row.iter().map(move |&(score, j)| (score, a as u32, j)));
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p.0), high.max(p.0)));
    // Of equal scores, all fall in the last bin.
    let share = |score: f64| if high > low { (score - low) / (high - low) } else { 1.0 };
    let bin = |score: f64| ((share(score) * bins as f64) as usize).min(bins - 1);
    let mut sizes = vec![0usize; bins];
    all().for_each(|(score, ..)| sizes[bin(score)] += 1);
    // Which pairs of each bin, counted in order; the next one last.
    let wanted = sizes.iter().enumerate().map(|(b, &size)| {
        let mut rng = draw.generator(2 * b as u64 + side);
        let mut ranks: Vec<usize> =
            (0..if size > 0 { per_bin } else { 0 }).map(|_| rng.random_range(0..size)).collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks
    });
    let mut wanted: Vec<Vec<usize>> = wanted.collect();
    let mut seen = vec![0usize; bins];
    let mut pairs = Vec::new();
    for (score, a, j) in all() {
        let b = bin(score);
        while wanted[b].last() == Some(&seen[b]) {
            wanted[b].pop();
            pairs.push((a, j));
        }
        seen[b] += 1;
    }
    pairs
}

impl Miner for UniformHistogram {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        let (rows, draw, p) = (find(self.space, batch, &AllPairs)?, self.chance.step(), &self.params);
        let (positives, negatives): (Vec<_>, Vec<_>) = rows.iter().map(|row| (&row.0, &row.1)).unzip();
        Ok(Tuples::Pairs {
            positives: drawn(&positives, p.num_bins, p.pos_per_bin, draw, 0),
            negatives: drawn(&negatives, p.num_bins, p.neg_per_bin, draw, 1),
        })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.chance.state()
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.chance.load_state(state)
    }
}

impl MinerParams for UniformHistogramParams {
    const NAME: &'static str = "uniform_histogram";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        within(Self::NAME, "num_bins", self.num_bins, 1, 1_000_000)?;
        within(Self::NAME, "pos_per_bin", self.pos_per_bin, 1, 1_000_000)?;
        within(Self::NAME, "neg_per_bin", self.neg_per_bin, 1, 1_000_000)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Miner>> {
        let space = Space::new(metric(Self::NAME, &self.metric)?, self.normalize);
        Ok(Box::new(UniformHistogram { params: self.clone(), space, chance: Chance::new("miner", context.seed) }))
    }
}
