//! Rows that come as triplets already: (0, 1, 2), (3, 4, 5) ….

use super::{Miner, MinerParams};
use crate::params::metric;
use crate::{Batch, Context, Error, Result, Tuples};
use serde::{Deserialize, Serialize};

/// Parameters of the miner of packaged triplets: those of all miners, of which it uses none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackagedTripletsParams {
    /// Any metric; nothing is measured. Default `euclidean`.
    pub metric: String,
    /// Of no effect. Default true.
    pub normalize: bool,
}

impl Default for PackagedTripletsParams {
    fn default() -> Self {
        Self { metric: "euclidean".to_owned(), normalize: true }
    }
}

struct PackagedTriplets;

impl Miner for PackagedTriplets {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        let (n, m) = batch.sizes()?;
        if n % 3 != 0 || m < n {
            let problem = format!(
                "packaged_triplets: {n} rows against {m} are no triplets: want rows in threes, against themselves"
            );
            return Err(Error::Labels(problem));
        }
        Ok(Tuples::Triplets((0..n as u32 / 3).map(|k| [3 * k, 3 * k + 1, 3 * k + 2]).collect()))
    }
}

impl MinerParams for PackagedTripletsParams {
    const NAME: &'static str = "packaged_triplets";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        Ok(Box::new(PackagedTriplets))
    }
}
