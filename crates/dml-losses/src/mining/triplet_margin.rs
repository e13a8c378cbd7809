//! Triplets by how far the negative is beyond the positive.
//!
//! With the gap `d_an − d_ap` (the other way round for similarities): `all` violate the margin, gap ≤ m; `hard` of them have the
//! negative no further than the positive, gap ≤ 0; `semi_hard` have it further, 0 < gap ≤ m; `easy` are all others, gap > m.
//! Schroff et al., *FaceNet*, 2015, §3.2. The list is as long as there are such triplets: 12 bytes each.

use super::rows::{Find, RowMiner};
use super::{Miner, MinerParams};
use crate::params::{finite, metric};
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Which triplets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripletKind {
    /// Those that violate the margin.
    All,
    /// Those whose negative is no further than the positive.
    Hard,
    /// Those whose negative is further, but within the margin.
    SemiHard,
    /// Those that keep the margin.
    Easy,
}

/// Parameters of the triplet-margin miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TripletMarginParams {
    /// Margin m. Default 0.2.
    pub margin: f64,
    /// Which triplets. Default `all`.
    pub kind: TripletKind,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for TripletMarginParams {
    fn default() -> Self {
        Self { margin: 0.2, kind: TripletKind::All, metric: "euclidean".to_owned(), normalize: true }
    }
}

struct TripletMargin {
    margin: f64,
    kind: TripletKind,
    sign: f64,
}

impl Find for TripletMargin {
    type Found = Vec<[u32; 3]>;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let (sign, margin, zero) = (T::of(self.sign), T::of(self.margin), T::zero());
        let mut found = Vec::new();
        for p in row.positives() {
            let fits = |&n: &usize| {
                let gap = sign * (row.scores[n] - row.scores[p]);
                match self.kind {
                    TripletKind::All => gap <= margin,
                    TripletKind::Hard => gap <= margin && gap <= zero,
                    TripletKind::SemiHard => gap <= margin && gap > zero,
                    TripletKind::Easy => gap > margin,
                }
            };
            found.extend(row.negatives().filter(fits).map(|n| [row.anchor as u32, p as u32, n as u32]));
        }
        found
    }
}

impl MinerParams for TripletMarginParams {
    const NAME: &'static str = "triplet_margin";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "margin", self.margin)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule = TripletMargin { margin: self.margin, kind: self.kind, sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
