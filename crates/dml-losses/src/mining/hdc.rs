//! The hardest share of all positive pairs of the batch, and of all its negative pairs.
//!
//! `⌈share · pairs⌉` of each kind, over the whole batch and not per anchor: furthest positives, nearest negatives; equals by
//! anchor, then by column. Yuan et al., *Hard-Aware Deeply Cascaded Embedding*, 2017, §3.2.

use super::rows::{AllPairs, ScoredPair, find};
use super::{Miner, MinerParams};
use crate::params::{metric, positive, within};
use crate::row_loss::Space;
use crate::{Batch, Context, Result, Tuples};
use serde::{Deserialize, Serialize};

/// Parameters of the hard-aware miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HdcParams {
    /// Share of the pairs that stay, above 0 and up to 1. Default 0.5.
    pub filter_percentage: f64,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for HdcParams {
    fn default() -> Self {
        Self { filter_percentage: 0.5, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct Hdc {
    share: f64,
    space: Space,
}

/// The hardest of the pairs of each row, by anchor and column.
fn hardest<'a>(rows: impl Iterator<Item = &'a Vec<ScoredPair>>, sign: f64, share: f64) -> Vec<(u32, u32)> {
    // Adding 0 makes −0 and 0 one.
    let easy = |score: f64| sign * score + 0.0;
    let mut pairs: Vec<(f64, u32, u32)> =
        rows.enumerate().flat_map(|(a, row)| row.iter().map(move |&(score, j)| (easy(score), a as u32, j))).collect();
    let kept = (share * pairs.len() as f64).ceil() as usize;
    if kept > 0 && kept < pairs.len() {
        pairs.select_nth_unstable_by(kept - 1, |x, y| x.0.total_cmp(&y.0).then((x.1, x.2).cmp(&(y.1, y.2))));
        pairs.truncate(kept);
    }
    let mut pairs: Vec<(u32, u32)> = pairs.into_iter().map(|(_, a, j)| (a, j)).collect();
    pairs.sort_unstable();
    pairs
}

impl Miner for Hdc {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        let (rows, sign) = (find(self.space, batch, &AllPairs)?, self.space.metric.sign());
        let positives = hardest(rows.iter().map(|row| &row.0), -sign, self.share);
        Ok(Tuples::Pairs { positives, negatives: hardest(rows.iter().map(|row| &row.1), sign, self.share) })
    }
}

impl MinerParams for HdcParams {
    const NAME: &'static str = "hdc";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        positive(Self::NAME, "filter_percentage", self.filter_percentage)?;
        within(Self::NAME, "filter_percentage", self.filter_percentage, 0.0, 1.0)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let space = Space::new(metric(Self::NAME, &self.metric)?, self.normalize);
        Ok(Box::new(Hdc { share: self.filter_percentage, space }))
    }
}
