//! Positive pairs further than one margin, and negative pairs nearer than another.

use super::rows::{Find, PairsOfRow, RowMiner};
use super::{Miner, MinerParams};
use crate::params::{finite, metric};
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Parameters of the pair-margin miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairMarginParams {
    /// Positives further than this stay. Default 0.2.
    pub pos_margin: f64,
    /// Negatives nearer than this stay. Default 0.8.
    pub neg_margin: f64,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for PairMarginParams {
    fn default() -> Self {
        Self { pos_margin: 0.2, neg_margin: 0.8, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct PairMargin {
    pos_margin: f64,
    neg_margin: f64,
    sign: f64,
}

impl Find for PairMargin {
    type Found = PairsOfRow;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let (sign, pos_margin, neg_margin) = (T::of(self.sign), T::of(self.pos_margin), T::of(self.neg_margin));
        let of = |j: usize| (row.anchor as u32, j as u32);
        (
            row.positives().filter(|&j| sign * (row.scores[j] - pos_margin) > T::zero()).map(of).collect(),
            row.negatives().filter(|&j| sign * (row.scores[j] - neg_margin) < T::zero()).map(of).collect(),
        )
    }
}

impl MinerParams for PairMarginParams {
    const NAME: &'static str = "pair_margin";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "pos_margin", self.pos_margin)?;
        finite(Self::NAME, "neg_margin", self.neg_margin)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule = PairMargin { pos_margin: self.pos_margin, neg_margin: self.neg_margin, sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
