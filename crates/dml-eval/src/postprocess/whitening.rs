//! Whitening: rows are mapped so that all directions vary alike, or vary alike within classes.
//!
//! * PCA whitening `y = Λ^{-1/2} U (x − μ)`, Λ and U of the covariance. Jégou & Chum, *Negative Evidences and Co-occurrences in
//!   Image Retrieval*, 2012. With shrinkage s and ε, λ is replaced by `(1 − s)λ + s·mean(λ) + ε`.
//! * Learned whitening from labels: `y = V S^{-1/2} (x − μ)`, S the mean of `(xᵢ − xⱼ)(xᵢ − xⱼ)ᵀ` over pairs of one class (each
//!   with the same weight) and V the eigenvectors of the covariance of `S^{-1/2} x`, largest first. Mikolajczyk & Matas, 2007;
//!   Radenović et al., 2018, §3.3, as their code has it (the covariance of all rows; pairs of two classes alone give the same V).
//!
//! Afterwards rows are brought to length 1, if so wished, which is what makes it work for retrieval.

use super::linear_map::LinearMap;
use super::pca::components;
use crate::covariance::{Eigen, covariance, eigen, fix_signs, mean, moments, product};
use crate::diagnostics::pairs::Classes;
use crate::finite::check_rows;
use crate::{Error, Result, check};
use dml_core::{Matrix, Projection};
use serde::{Deserialize, Serialize};

/// How whitening is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhiteningOptions {
    /// Components kept; none for all that vary.
    pub keep: Option<usize>,
    /// Added to each eigenvalue; 0 or more, in squared units of the embeddings.
    pub epsilon: f64,
    /// Share of the mean eigenvalue in each eigenvalue, from 0 (none) to 1 (PCA without whitening, but for scale).
    pub shrinkage: f64,
    /// Whether rows are brought to length 1 afterwards.
    pub normalize: bool,
}

/// All components, no ε, no shrinkage, rows of length 1.
impl Default for WhiteningOptions {
    fn default() -> Self {
        Self { keep: None, epsilon: 0.0, shrinkage: 0.0, normalize: true }
    }
}

impl WhiteningOptions {
    fn check(&self) -> Result<()> {
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(Error::Input(format!("whitening with epsilon {}: want 0 or more", self.epsilon)));
        }
        if !(0.0..=1.0).contains(&self.shrinkage) {
            return Err(Error::Input(format!("whitening with shrinkage {}: want 0 to 1", self.shrinkage)));
        }
        Ok(())
    }

    /// `1/√λ` of the first `count` eigenvalues, shrunk.
    fn scales(&self, what: &str, values: &[f64], count: usize) -> Result<Vec<f64>> {
        // Below, an eigenvalue of f32 numbers is their rounding.
        let smallest = (values.len() as f64 * f64::from(f32::EPSILON)).powi(2) * values[0].max(0.0);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let shrunk = |v: f64| (1.0 - self.shrinkage) * v + self.shrinkage * mean + self.epsilon;
        let scale = |(k, &v): (usize, &f64)| {
            let shrunk = shrunk(v.max(0.0));
            if shrunk > smallest {
                return Ok(1.0 / shrunk.sqrt());
            }
            Err(Error::Input(format!(
                "{what}: direction {} of {count} does not vary: keep {k} at most, or set shrinkage or epsilon",
                k + 1
            )))
        };
        values[..count].iter().enumerate().map(scale).collect()
    }
}

/// Fitted whitening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whitening {
    /// The mean and the map `[k, d]`.
    pub map: LinearMap,
    /// Whether rows are brought to length 1 afterwards.
    pub normalize: bool,
    /// Rows that it was fitted on.
    pub rows: usize,
}

impl Whitening {
    /// Fits PCA whitening on `x` (`[n, d]`).
    ///
    /// # Errors
    /// When there are fewer than two rows, a value is not finite, an option is out of range, or a direction that is kept does
    /// not vary: with n ≤ d rows, keep n − 1 at most, or shrink.
    pub fn fit(x: Matrix<'_>, options: &WhiteningOptions) -> Result<Self> {
        check_rows("whitening", x, 2)?;
        options.check()?;
        let d = x.cols();
        let k = components("whitening", options.keep, d)?;
        let mean = mean(x);
        let Eigen { values, vectors: mut matrix } = eigen(&covariance(x, &mean), d)?;
        let scales = options.scales("whitening", &values, k)?;
        matrix.truncate(k * d);
        scale_rows(&mut matrix, &scales, d);
        Ok(Self { map: LinearMap { mean, matrix }, normalize: options.normalize, rows: x.rows() })
    }

    /// Fits learned whitening on `x` (`[n, d]`) and its labels. Shrinkage and ε are those of S.
    ///
    /// # Errors
    /// As [`Whitening::fit`], and when labels are not one per row, or no class has two rows. S does not vary in all directions
    /// unless n is at least d plus the number of classes; otherwise set shrinkage or ε.
    pub fn fit_supervised(x: Matrix<'_>, labels: &[u32], options: &WhiteningOptions) -> Result<Self> {
        check(x, labels)?;
        check_rows("learned whitening", x, 2)?;
        options.check()?;
        let d = x.cols();
        let k = components("learned whitening", options.keep, d)?;
        let Eigen { values, vectors: mut root } = eigen(&within_classes(x, labels)?, d)?;
        let scales = options.scales("learned whitening, pairs of one class", &values, d)?;
        scale_rows(&mut root, &scales, d);
        let mean = mean(x);
        let half = product(&root, &covariance(x, &mean), (d, d, d));
        let transposed: Vec<f64> = (0..d * d).map(|at| root[at % d * d + at / d]).collect();
        let rotated = eigen(&product(&half, &transposed, (d, d, d)), d)?;
        let mut matrix = product(&rotated.vectors[..k * d], &root, (k, d, d));
        fix_signs(&mut matrix, d);
        Ok(Self { map: LinearMap { mean, matrix }, normalize: options.normalize, rows: x.rows() })
    }

    /// Whitens the rows of `x` (`[n, d]`): `[n, k]`. A row equal to the mean stays zeros.
    ///
    /// # Errors
    /// As [`LinearMap::apply`].
    pub fn apply(&self, x: Matrix<'_>) -> Result<Vec<f32>> {
        let mapped = self.map.apply(x)?;
        if !self.normalize {
            return Ok(mapped);
        }
        Ok(Projection::Unit.apply(Matrix::new(&mapped, x.rows(), self.map.outputs())?).values)
    }
}

fn scale_rows(matrix: &mut [f64], scales: &[f64], d: usize) {
    for (row, scale) in matrix.chunks_exact_mut(d).zip(scales) {
        row.iter_mut().for_each(|v| *v *= scale);
    }
}

/// S: by `Σ_{i<j∈c} (xᵢ − xⱼ)(xᵢ − xⱼ)ᵀ = n_c Σ_{i∈c} (xᵢ − μ_c)(xᵢ − μ_c)ᵀ`.
fn within_classes(x: Matrix<'_>, labels: &[u32]) -> Result<Vec<f64>> {
    let d = x.cols();
    let classes = Classes::of(labels);
    let pairs: f64 = classes.rows.iter().map(|rows| (rows.len() * (rows.len() - 1) / 2) as f64).sum();
    if pairs == 0.0 {
        return Err(Error::Input("learned whitening: no class has two rows, so that there is no pair".to_owned()));
    }
    let mut of_row = vec![0usize; labels.len()];
    let mut means = vec![0f64; classes.rows.len() * d];
    for (c, (rows, mean)) in classes.rows.iter().zip(means.chunks_exact_mut(d)).enumerate() {
        for &i in rows {
            of_row[i as usize] = c;
            mean.iter_mut().zip(x.row(i as usize)).for_each(|(m, &v)| *m += f64::from(v) / rows.len() as f64);
        }
    }
    let mut sums = moments(x.rows(), d, |i, row| {
        let c = of_row[i];
        let weight = (classes.rows[c].len() as f64).sqrt();
        let centred = x.row(i).iter().zip(&means[c * d..]).map(|(&v, m)| weight * (f64::from(v) - m));
        row.iter_mut().zip(centred).for_each(|(to, v)| *to = v);
    });
    sums.iter_mut().for_each(|v| *v /= pairs);
    Ok(sums)
}
