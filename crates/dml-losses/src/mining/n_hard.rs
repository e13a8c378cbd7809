//! Positives of some ranks of hardness with negatives of some ranks, of each anchor.
//!
//! Positives are ranked furthest first, negatives nearest first, equals by column; every positive of `positive_ranks` makes a
//! triplet with every negative of `negative_ranks`. Ranks count from 0 and leave out the end: `[0, 1]` is the hardest, `[1, 4]` the
//! three after it, for data whose hardest pairs are mistakes of labelling. Open Metric Learning's `NHardTripletsMiner`, which
//! counts from 1 and includes the end.

use super::rows::{Find, RowMiner};
use super::{Miner, MinerParams};
use crate::params::{metric, wrong};
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Parameters of the rank miner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NHardParams {
    /// First rank and the rank after the last, of positives, furthest first. Default `[0, 1]`.
    pub positive_ranks: [usize; 2],
    /// The same of negatives, nearest first. Default `[0, 1]`.
    pub negative_ranks: [usize; 2],
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for NHardParams {
    fn default() -> Self {
        Self { positive_ranks: [0, 1], negative_ranks: [0, 1], metric: "euclidean".to_owned(), normalize: true }
    }
}

struct NHard {
    positive_ranks: [usize; 2],
    negative_ranks: [usize; 2],
    sign: f64,
}

/// The columns of some ranks by `sign · score`, smallest first.
fn ranked<T: Real>(row: &Row<'_, T>, sign: T, columns: impl Iterator<Item = usize>, ranks: [usize; 2]) -> Vec<usize> {
    let mut columns: Vec<(T, usize)> = columns.map(|j| (sign * row.scores[j] + T::zero(), j)).collect();
    let order = |a: &(T, usize), b: &(T, usize)| a.0.wide().total_cmp(&b.0.wide()).then(a.1.cmp(&b.1));
    let [first, end] = ranks.map(|rank| rank.min(columns.len()));
    if end > 0 && end < columns.len() {
        columns.select_nth_unstable_by(end - 1, order);
        columns.truncate(end);
    }
    columns.sort_unstable_by(order);
    columns.drain(..first.min(columns.len()));
    columns.into_iter().take(end - first).map(|(_, j)| j).collect()
}

impl Find for NHard {
    type Found = Vec<[u32; 3]>;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let sign = T::of(self.sign);
        let positives = ranked(row, -sign, row.positives(), self.positive_ranks);
        if positives.is_empty() {
            return Vec::new();
        }
        let negatives = ranked(row, sign, row.negatives(), self.negative_ranks);
        let triplets = positives.iter().flat_map(|&p| negatives.iter().map(move |&n| (p, n)));
        triplets.map(|(p, n)| [row.anchor as u32, p as u32, n as u32]).collect()
    }
}

impl MinerParams for NHardParams {
    const NAME: &'static str = "n_hard";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        for (key, [first, end]) in [("positive_ranks", self.positive_ranks), ("negative_ranks", self.negative_ranks)] {
            if first >= end {
                let problem =
                    format!("{key} is [{first}, {end}]: want the first rank and, larger, the one after the last");
                return Err(wrong(Self::NAME, problem));
            }
        }
        Ok(())
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule =
            NHard { positive_ranks: self.positive_ranks, negative_ranks: self.negative_ranks, sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
