//! Each row far from its nearest: `mean_i max_{j≠i} cos(w_i, w_j)`, of the proxies of the classes; 0 of one row.
//!
//! Zhao et al., *RegularFace: Deep Face Recognition via Exclusive Regularization*, 2019, eq. 6. Of equals the first is taken.

use super::RegularizerParams;
use crate::Result;
use crate::autograd::nothing;
use crate::row_loss::Space;
use candle_core::{D, Tensor};
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// RegularFace has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegularFaceParams {}

impl RegularizerParams for RegularFaceParams {
    const NAME: &'static str = "regular_face";

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn value(&self, rows: &Tensor) -> Result<Tensor> {
        let n = rows.dim(0)?;
        if n < 2 {
            return nothing(&[rows]);
        }
        let cosines = Space::new(Metric::Cosine, true).compose(rows, rows)?;
        // Below every cosine.
        let itself = (Tensor::eye(n, cosines.dtype(), cosines.device())? * 4.0)?;
        let nearest = (cosines.detach() - itself)?.argmax_keepdim(D::Minus1)?;
        Ok(cosines.gather(&nearest, D::Minus1)?.mean_all()?)
    }
}
