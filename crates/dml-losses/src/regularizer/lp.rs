//! Small norms: `mean_i ‖x_i‖_p^power`. The gradient of a row of zeros is 0.

use super::RegularizerParams;
use crate::Result;
use crate::params::{positive, within};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// Parameters of the norm regulariser.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LpParams {
    /// Which norm, 1 or more. Default 2.
    pub p: f64,
    /// Power of the norm. Default 1.
    pub power: f64,
}

impl Default for LpParams {
    fn default() -> Self {
        Self { p: 2.0, power: 1.0 }
    }
}

impl RegularizerParams for LpParams {
    const NAME: &'static str = "lp";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "p", self.p, 1.0, 100.0)?;
        positive(Self::NAME, "power", self.power)
    }

    fn value(&self, rows: &Tensor) -> Result<Tensor> {
        let powers = if self.p == 2.0 {
            rows.sqr()?
        } else {
            // Not `abs`, whose slope at 0 is 1.
            let size = (rows.relu()? + rows.neg()?.relu()?)?;
            if self.p == 1.0 { size } else { size.powf(self.p)? }
        };
        let sums = powers.sum(D::Minus1)?;
        let exponent = self.power / self.p;
        if exponent == 1.0 {
            return Ok(sums.mean_all()?);
        }
        // The power of a constant where the norm is 0: no division by 0.
        let zero = sums.le(0.0)?;
        let norms = zero.where_cond(&sums.ones_like()?, &sums)?.powf(exponent)?;
        Ok(zero.where_cond(&sums.zeros_like()?, &norms)?.mean_all()?)
    }
}
