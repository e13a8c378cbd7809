//! Centres of one class near each other, so that few are in use: `Σ_c Σ_{j<k} √(2 − 2 min(w_cj·w_ck, 1)) / (C·K(K−1))`.
//!
//! Qian et al., *SoftTriple Loss: Deep Metric Learning Without Triplet Sampling*, 2019, eq. 8, of normalised centres, class by class.
//! The gradient of equal centres is 0.

use super::RegularizerParams;
use crate::Result;
use crate::params::{within, wrong};
use crate::row_loss::Space;
use candle_core::Tensor;
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// Parameters of the sparse-centre regulariser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SparseCentersParams {
    /// Number of classes C; 0: as many as the rows make. Default 0.
    pub num_classes: usize,
    /// Rows of each class, K, 2 or more. Default 10.
    pub centers_per_class: usize,
}

impl Default for SparseCentersParams {
    fn default() -> Self {
        Self { num_classes: 0, centers_per_class: 10 }
    }
}

impl RegularizerParams for SparseCentersParams {
    const NAME: &'static str = "sparse_centers";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "centers_per_class", self.centers_per_class, 2, 1_000_000)
    }

    fn value(&self, rows: &Tensor) -> Result<Tensor> {
        let (n, d) = rows.dims2()?;
        let k = self.centers_per_class;
        let classes = if self.num_classes == 0 { n / k } else { self.num_classes };
        if classes * k != n {
            let problem =
                format!("{n} rows are not {k} centers_per_class of {classes} num_classes: set them as the loss has");
            return Err(wrong(Self::NAME, problem));
        }
        let unit = Space::new(Metric::Dot, true).projection.compose(rows)?.reshape((classes, k, d))?;
        let cosines = unit.matmul(&unit.t()?)?.flatten_all()?;
        let pairs = (0..classes).flat_map(|c| (0..k).flat_map(move |i| (i + 1..k).map(move |j| (c * k + i) * k + j)));
        let pairs: Vec<u32> = pairs.map(|at| at as u32).collect();
        let count = pairs.len();
        let squares = (2.0 - (cosines.index_select(&Tensor::new(pairs, rows.device())?, 0)? * 2.0)?)?;
        // The root of a constant where centres are equal: no division by 0.
        let equal = squares.le(0.0)?;
        let roots = equal.where_cond(&squares.ones_like()?, &squares)?.sqrt()?;
        let distances = equal.where_cond(&squares.zeros_like()?, &roots)?;
        Ok((distances.sum_all()? / (2 * count) as f64)?)
    }
}
