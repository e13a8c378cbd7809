//! Second moments of rows in `f64`, and eigenvectors: the same bits on any number of threads.

use crate::{Error, Result};
use dml_core::Matrix;
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows that are widened at a time.
const ROWS: usize = 512;
/// Rows of the result that one task sums.
const TILE: usize = 64;

/// Mean of the rows, `[d]`.
pub(crate) fn mean(x: Matrix<'_>) -> Vec<f64> {
    let mut mean = vec![0f64; x.cols()];
    for i in 0..x.rows() {
        mean.iter_mut().zip(x.row(i)).for_each(|(m, &v)| *m += f64::from(v));
    }
    mean.iter_mut().for_each(|m| *m /= x.rows() as f64);
    mean
}

/// `Σ_i r_i r_iᵀ`, symmetric `[d, d]`, of `rows` rows that `fill` writes.
pub(crate) fn moments(rows: usize, d: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    let mut sums = vec![0f64; d * d];
    if d == 0 {
        return sums;
    }
    let mut buffer = vec![0f64; ROWS.min(rows) * d];
    for first in (0..rows).step_by(ROWS) {
        let block = &mut buffer[..(rows - first).min(ROWS) * d];
        block.par_chunks_mut(d).enumerate().for_each(|(i, row)| fill(first + i, row));
        let block = MatRef::from_row_major_slice(block, block.len() / d, d);
        // Which task adds a number, and in which order, depends on no thread.
        sums.par_chunks_mut(TILE * d).enumerate().for_each(|(t, tile)| {
            let (start, count) = (t * TILE, tile.len() / d);
            let lower = start + count;
            let to = MatMut::from_row_major_slice_mut(tile, count, d).subcols_mut(0, lower);
            let left = block.subcols(start, count).transpose();
            matmul(to, Accum::Add, left, block.subcols(0, lower), 1.0, Par::Seq);
        });
    }
    for i in 0..d {
        for j in 0..i {
            sums[j * d + i] = sums[i * d + j];
        }
    }
    sums
}

/// Covariance `[d, d]` of the rows of `x` around `mean`, divisor n − 1.
pub(crate) fn covariance(x: Matrix<'_>, mean: &[f64]) -> Vec<f64> {
    let mut sums = moments(x.rows(), x.cols(), |i, row| {
        row.iter_mut().zip(x.row(i)).zip(mean).for_each(|((to, &v), m)| *to = f64::from(v) - m);
    });
    let divisor = x.rows().saturating_sub(1).max(1) as f64;
    sums.iter_mut().for_each(|v| *v /= divisor);
    sums
}

/// `A · B` of row-major `[m, k]` and `[k, n]`.
pub(crate) fn product(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize)) -> Vec<f64> {
    let mut out = vec![0f64; m * n];
    let (a, b) = (MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, k, n));
    matmul(MatMut::from_row_major_slice_mut(&mut out, m, n), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

/// Eigenvalues and eigenvectors of a symmetric matrix.
pub(crate) struct Eigen {
    /// Largest first, `[d]`.
    pub(crate) values: Vec<f64>,
    /// One eigenvector per row, of length 1, `[d, d]`; its entry of largest size is positive.
    pub(crate) vectors: Vec<f64>,
}

/// Eigenvalues and eigenvectors of a symmetric `[d, d]`.
///
/// # Errors
/// When the iteration does not converge, which happens to numbers that overflow.
pub(crate) fn eigen(matrix: &[f64], d: usize) -> Result<Eigen> {
    let mut vectors = Mat::<f64>::zeros(d, d);
    let values = solve(matrix, d, Some(vectors.as_mut()))?;
    let rows = (0..d).rev().flat_map(|k| (0..d).map(move |i| (i, k)));
    let mut vectors: Vec<f64> = rows.map(|at| vectors[at]).collect();
    fix_signs(&mut vectors, d);
    Ok(Eigen { values, vectors })
}

/// Eigenvalues of a symmetric `[d, d]`, largest first: several times cheaper than [`eigen`].
///
/// # Errors
/// As [`eigen`].
pub(crate) fn eigenvalues(matrix: &[f64], d: usize) -> Result<Vec<f64>> {
    solve(matrix, d, None)
}

fn solve(matrix: &[f64], d: usize, vectors: Option<MatMut<'_, f64>>) -> Result<Vec<f64>> {
    let (mut values, settings) = (Diag::<f64>::zeros(d), Default::default());
    let compute = if vectors.is_some() { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(d, compute, Par::Seq, settings));
    let (matrix, stack) = (MatRef::from_row_major_slice(matrix, d, d), MemStack::new(&mut memory));
    self_adjoint_evd(matrix, values.as_mut(), vectors, Par::Seq, stack, settings).map_err(|_| {
        Error::Input("the eigenvalues of the covariance did not converge: check the size of the embeddings".to_owned())
    })?;
    let values = values.column_vector();
    Ok((0..d).rev().map(|k| values[k]).collect())
}

/// Turns each row of `[.., d]` so that its entry of largest size (the first of equals) is positive: an eigenvector's sign
/// is anyone's choice otherwise. scikit-learn's rule, too.
pub(crate) fn fix_signs(rows: &mut [f64], d: usize) {
    for row in rows.chunks_exact_mut(d.max(1)) {
        let largest = row.iter().fold(0f64, |largest, &v| if v.abs() > largest.abs() { v } else { largest });
        if largest < 0.0 {
            row.iter_mut().for_each(|v| *v = -*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 700 rows of 130 numbers: more than one block of rows, more than one tile.
    fn rows() -> Vec<f32> {
        (0..700 * 130u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0 - 0.5).collect()
    }

    #[test]
    fn covariance_is_that_of_plain_loops() {
        let values = rows();
        let x = Matrix::new(&values, 700, 130).unwrap();
        let mean = mean(x);
        let fast = covariance(x, &mean);
        for (a, b) in [(0, 0), (3, 128), (129, 64), (64, 63), (129, 129)] {
            let terms = (0..700).map(|i| (f64::from(x.row(i)[a]) - mean[a]) * (f64::from(x.row(i)[b]) - mean[b]));
            let plain = terms.sum::<f64>() / 699.0;
            assert!((fast[a * 130 + b] - plain).abs() < 1e-12, "({a}, {b}): {} is not {plain}", fast[a * 130 + b]);
        }
    }

    #[test]
    fn eigenvectors_give_the_matrix_back_on_any_number_of_threads() {
        let values = rows();
        let x = Matrix::new(&values, 700, 130).unwrap();
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let matrix = covariance(x, &mean(x));
                let Eigen { values, vectors } = eigen(&matrix, 130).unwrap();
                (matrix, values, vectors)
            })
        };
        let (matrix, values, vectors) = of(1);
        assert_eq!((matrix.clone(), values.clone(), vectors.clone()), of(3));
        assert!(values.is_sorted_by(|a, b| a >= b));
        let alone = eigenvalues(&matrix, 130).unwrap();
        assert!(alone.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-12));
        for (i, j) in [(0, 0), (5, 90), (129, 2)] {
            let back: f64 = (0..130).map(|k| values[k] * vectors[k * 130 + i] * vectors[k * 130 + j]).sum();
            assert!((back - matrix[i * 130 + j]).abs() < 1e-12);
        }
    }

    #[test]
    fn products_and_signs_by_hand() {
        assert_eq!(product(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 0.0, 2.0], (2, 3, 1)), [7.0, 16.0]);
        let mut rows = [1.0, -2.0, 2.0, 0.5, 0.25, -0.25];
        fix_signs(&mut rows, 3);
        assert_eq!(rows, [-1.0, 2.0, -2.0, 0.5, 0.25, -0.25]);
    }
}
