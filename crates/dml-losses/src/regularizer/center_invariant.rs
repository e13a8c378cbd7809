//! Equal norms: `mean_i (‖w_i‖² − mean_j ‖w_j‖²)² / 4`.
//!
//! Wu et al., *Deep Face Recognition with Center Invariant Loss*, 2017, eq. 5, of the proxies of the classes.

use super::RegularizerParams;
use crate::Result;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// The centre-invariant regulariser has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CenterInvariantParams {}

impl RegularizerParams for CenterInvariantParams {
    const NAME: &'static str = "center_invariant";

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn value(&self, rows: &Tensor) -> Result<Tensor> {
        let squares = rows.sqr()?.sum(D::Minus1)?;
        Ok((squares.broadcast_sub(&squares.mean_all()?)?.sqr()?.mean_all()? / 4.0)?)
    }
}
