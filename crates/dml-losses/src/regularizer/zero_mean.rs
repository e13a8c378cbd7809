//! Entries that add up to 0 in each row: `mean_i |Σ_k x_ik|`.

use super::RegularizerParams;
use crate::Result;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// The zero-mean regulariser has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroMeanParams {}

impl RegularizerParams for ZeroMeanParams {
    const NAME: &'static str = "zero_mean";

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn value(&self, rows: &Tensor) -> Result<Tensor> {
        let sums = rows.sum(D::Minus1)?;
        // Not `abs`, whose slope at 0 is 1.
        Ok((sums.relu()? + sums.neg()?.relu()?)?.mean_all()?)
    }
}
