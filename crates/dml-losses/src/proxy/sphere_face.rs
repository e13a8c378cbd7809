//! SphereFace, multiplicative angular margin.
//!
//! `mean_i −log softmax(s·‖x_i‖·[cos θ_c, ψ(θ) at c = y_i])_{y_i}` with `ψ(θ) = (−1)^k cos(mθ) − 2k` on `[kπ/m, (k+1)π/m]`.
//! Liu et al., *SphereFace: Deep Hypersphere Embedding for Face Recognition*, 2017, eq. 7. m = 4, s = 1. The authors' annealing,
//! `(λ cos θ + ψ)/(1 + λ)`, is left out, as in pytorch-metric-learning. Embeddings have a gradient through their norm too; a row
//! of zeros has none through it.

use super::norm_softmax::NormSoftmax;
use super::proxies::Proxies;
use crate::params::{LossParams, positive, within};
use crate::{Context, Objective, Result};
use serde::{Deserialize, Serialize};

/// Parameters of SphereFace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SphereFaceParams {
    /// Factor m on the angle. Default 4.
    pub margin: usize,
    /// Scale s. Default 1.
    pub scale: f64,
}

impl Default for SphereFaceParams {
    fn default() -> Self {
        Self { margin: 4, scale: 1.0 }
    }
}

impl LossParams for SphereFaceParams {
    const NAME: &'static str = "sphere_face";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 1, 16)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        Ok(Box::new(NormSoftmax::new(proxies, self.margin, self.scale, false, context)))
    }
}
