//! Furthest positive and nearest negative of each anchor that has both.
//!
//! Hermans et al., *In Defense of the Triplet Loss for Person Re-Identification*, 2017, eq. 5. Of equals the first column is taken.
//! Against references (a memory) the extremes are taken over all of them.

use super::rows::{Find, RowMiner, furthest, nearest};
use super::{Miner, MinerParams};
use crate::params::metric;
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Parameters of the batch-hard miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchHardParams {
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for BatchHardParams {
    fn default() -> Self {
        Self { metric: "euclidean".to_owned(), normalize: true }
    }
}

struct BatchHard {
    sign: f64,
}

impl Find for BatchHard {
    type Found = Vec<[u32; 3]>;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let sign = T::of(self.sign);
        let hardest = furthest(row, sign, row.positives()).zip(nearest(row, sign, row.negatives()));
        hardest.map(|(p, n)| [row.anchor as u32, p as u32, n as u32]).into_iter().collect()
    }
}

impl MinerParams for BatchHardParams {
    const NAME: &'static str = "batch_hard";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule = BatchHard { sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
