//! Large-margin softmax.
//!
//! `mean_i −log softmax(s·‖x_i‖‖w_c‖·[cos θ_c, ψ(θ) at c = y_i])_{y_i}` with `ψ(θ) = (−1)^k cos(mθ) − 2k` on `[kπ/m, (k+1)π/m]`.
//! Liu et al., *Large-Margin Softmax Loss for Convolutional Neural Networks*, 2016, eq. 4-6. m = 4; the scale s = 1 is
//! pytorch-metric-learning's. Embeddings and proxies have a gradient through their norms too; rows of zeros have none
//! through them.

use super::norm_softmax::NormSoftmax;
use super::proxies::Proxies;
use crate::params::{LossParams, positive, within};
use crate::{Context, Objective, Result};
use serde::{Deserialize, Serialize};

/// Parameters of large-margin softmax.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LargeMarginSoftmaxParams {
    /// Factor m on the angle. Default 4.
    pub margin: usize,
    /// Scale s. Default 1.
    pub scale: f64,
}

impl Default for LargeMarginSoftmaxParams {
    fn default() -> Self {
        Self { margin: 4, scale: 1.0 }
    }
}

impl LossParams for LargeMarginSoftmaxParams {
    const NAME: &'static str = "large_margin_softmax";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 1, 16)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        Ok(Box::new(NormSoftmax::new(proxies, self.margin, self.scale, true, context)))
    }
}
