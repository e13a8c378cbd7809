//! Principal component analysis: the directions in which rows vary most.
//!
//! `y = U (x − μ)`, U the eigenvectors of the covariance (divisor n − 1), largest eigenvalue first. The sign of each is such
//! that its entry of largest size is positive (scikit-learn's rule since 1.5), so that the same rows give the same components.

use super::linear_map::LinearMap;
use crate::covariance::{covariance, eigen, mean};
use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::Matrix;
use serde::{Deserialize, Serialize};

/// Fitted principal components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pca {
    /// The mean, and the components as rows `[k, d]`.
    pub map: LinearMap,
    /// Variance along each component, `[k]`, divisor n − 1.
    pub explained_variance: Vec<f64>,
    /// Variance of all d directions.
    pub total_variance: f64,
    /// Rows that it was fitted on.
    pub rows: usize,
}

impl Pca {
    /// Fits the `keep` first components of `x` (`[n, d]`), or all min(n, d) of them.
    ///
    /// # Errors
    /// When there are fewer than two rows, a value is not finite, or `keep` is 0 or more than min(n, d).
    pub fn fit(x: Matrix<'_>, keep: Option<usize>) -> Result<Self> {
        check_rows("PCA", x, 2)?;
        let (d, most) = (x.cols(), x.rows().min(x.cols()));
        let k = components("PCA", keep, most)?;
        let mean = mean(x);
        let found = eigen(&covariance(x, &mean), d)?;
        let mut matrix = found.vectors;
        matrix.truncate(k * d);
        let variances: Vec<f64> = found.values.iter().map(|v| v.max(0.0)).collect();
        Ok(Self {
            map: LinearMap { mean, matrix },
            total_variance: variances.iter().sum(),
            explained_variance: variances[..k].to_vec(),
            rows: x.rows(),
        })
    }

    /// Share of the variance along each component, `[k]`; zeros where nothing varies.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let share = |v: &f64| if self.total_variance > 0.0 { v / self.total_variance } else { 0.0 };
        self.explained_variance.iter().map(share).collect()
    }

    /// Coordinates of the rows of `x` (`[n, d]`) along the components: `[n, k]`.
    ///
    /// # Errors
    /// As [`LinearMap::apply`].
    pub fn transform(&self, x: Matrix<'_>) -> Result<Vec<f32>> {
        self.map.apply(x)
    }
}

/// Components to keep: those asked for, or all there are.
pub(super) fn components(what: &str, keep: Option<usize>, most: usize) -> Result<usize> {
    match keep {
        Some(k) if k == 0 || k > most => {
            Err(Error::Input(format!("{what} with {k} components where there are {most}: keep 1 to {most}")))
        }
        Some(k) => Ok(k),
        None => Ok(most),
    }
}
