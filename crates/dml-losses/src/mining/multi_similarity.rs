//! Pairs that are harder, give or take ε, than the hardest pair of the other kind in the same row.
//!
//! A positive stays if it is further than the nearest negative less ε, a negative if it is nearer than the furthest positive
//! plus ε. Rows that lack one kind keep nothing. Wang et al., *Multi-Similarity Loss with General Pair Weighting*, 2019, eq. 11–12.

use super::rows::{Find, PairsOfRow, RowMiner, furthest, nearest};
use super::{Miner, MinerParams};
use crate::params::{finite, metric};
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Parameters of the multi-similarity miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSimilarityMinerParams {
    /// ε. Default 0.1.
    pub epsilon: f64,
    /// Any metric. Default `cosine`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for MultiSimilarityMinerParams {
    fn default() -> Self {
        Self { epsilon: 0.1, metric: "cosine".to_owned(), normalize: true }
    }
}

struct MultiSimilarity {
    epsilon: f64,
    sign: f64,
}

impl Find for MultiSimilarity {
    type Found = PairsOfRow;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let (sign, epsilon) = (T::of(self.sign), T::of(self.epsilon));
        let hardest = furthest(row, sign, row.positives()).zip(nearest(row, sign, row.negatives()));
        let Some((p, n)) = hardest else { return PairsOfRow::default() };
        let far = |j: usize| sign * row.scores[j];
        let (far_p, near_n) = (far(p), far(n));
        let of = |j: usize| (row.anchor as u32, j as u32);
        (
            row.positives().filter(|&j| far(j) + epsilon > near_n).map(of).collect(),
            row.negatives().filter(|&j| far(j) - epsilon < far_p).map(of).collect(),
        )
    }
}

impl MinerParams for MultiSimilarityMinerParams {
    const NAME: &'static str = "multi_similarity";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "epsilon", self.epsilon)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule = MultiSimilarity { epsilon: self.epsilon, sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
