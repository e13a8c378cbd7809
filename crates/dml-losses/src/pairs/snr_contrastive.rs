//! Contrastive loss of signal-to-noise distances.
//!
//! `mean over non-zero of [d_p − m_pos]+  +  mean over non-zero of [m_neg − d_n]+` with `d(a, b) = var(a − b)/var(a)`, the
//! anchor a being the signal. Yuan et al., *Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning*,
//! 2019, eq. 3 (the distance), without the paper's regulariser of means (a regulariser of its own). As pytorch-metric-learning,
//! whose distance normalises first.

use super::contrastive::Contrastive;
use crate::params::{LossParams, finite};
use crate::row_loss::{RowLoss, Space};
use crate::{Context, Objective, Result};
use dml_core::{Metric, Reduction};
use serde::{Deserialize, Serialize};

/// Parameters of the signal-to-noise contrastive loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnrContrastiveParams {
    /// Positives nearer than this are left alone. Default 0.
    pub pos_margin: f64,
    /// Negatives further than this are left alone. Default 1.
    pub neg_margin: f64,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for SnrContrastiveParams {
    fn default() -> Self {
        Self { pos_margin: 0.0, neg_margin: 1.0, normalize: true }
    }
}

impl LossParams for SnrContrastiveParams {
    const NAME: &'static str = "snr_contrastive";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "pos_margin", self.pos_margin)?;
        finite(Self::NAME, "neg_margin", self.neg_margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let row = Contrastive { pos_margin: self.pos_margin, neg_margin: self.neg_margin, sign: 1.0, squared: false };
        Ok(Box::new(RowLoss::new(row, Space::new(Metric::Snr, self.normalize), Reduction::MeanNonZero, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
