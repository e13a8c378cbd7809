//! `x ↦ W (x − μ)`, what PCA and whitening come to once they are fitted.

use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::Matrix;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `x ↦ W (x − μ)` from d to k numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearMap {
    /// μ, `[d]`.
    pub mean: Vec<f64>,
    /// W, row-major `[k, d]`.
    pub matrix: Vec<f64>,
}

impl LinearMap {
    /// Numbers that come out, k.
    pub fn outputs(&self) -> usize {
        self.matrix.len() / self.mean.len().max(1)
    }

    /// Maps each row of `x` (`[n, d]`) in `f64`: `[n, k]`.
    ///
    /// # Errors
    /// When rows are not of length d, a value is not finite, or W does not fit μ (a file of another program).
    pub fn apply(&self, x: Matrix<'_>) -> Result<Vec<f32>> {
        /// Rows that one task maps.
        const ROWS: usize = 64;
        check_rows("linear map", x, 0)?;
        let (d, k) = (self.mean.len(), self.outputs());
        if d == 0 || k * d != self.matrix.len() {
            let values = self.matrix.len();
            return Err(Error::Input(format!("a linear map of {values} weights with a mean of length {d} is no map")));
        }
        if x.cols() != d {
            return Err(Error::Input(format!(
                "the map was fitted on rows of length {d} but is given rows of length {}: embed both with the same model",
                x.cols()
            )));
        }
        let weights = MatRef::from_row_major_slice(&self.matrix, k, d).transpose();
        let mut mapped = vec![0f32; x.rows() * k];
        let tasks = mapped.par_chunks_mut(ROWS * k.max(1)).zip(x.data().par_chunks(ROWS * d));
        tasks.for_each(|(to, from)| {
            let means = self.mean.iter().cycle();
            let centred: Vec<f64> = from.iter().zip(means).map(|(&v, m)| f64::from(v) - m).collect();
            let rows = from.len() / d;
            let mut product = vec![0f64; rows * k];
            let out = MatMut::from_row_major_slice_mut(&mut product, rows, k);
            matmul(out, Accum::Replace, MatRef::from_row_major_slice(&centred, rows, d), weights, 1.0, Par::Seq);
            to.iter_mut().zip(product).for_each(|(to, v)| *to = v as f32);
        });
        Ok(mapped)
    }
}
