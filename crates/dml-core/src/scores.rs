//! Score matrices on the CPU.

use crate::device::cpu::{Strided, TILE, dot, product, squared_distance};
use crate::normalize::normalize_rows;
use crate::{Error, Matrix, Metric, Result};
use rayon::prelude::*;
use std::borrow::Cow;

/// Below this share of the norms, `‖a‖² + ‖b‖² − 2a·b` has lost its digits and is computed again by subtraction.
pub(crate) const CANCELLED: f32 = 1e-2;

/// One side of a score matrix, with what is needed once per row.
struct Side<'a> {
    values: Cow<'a, [f32]>,
    squares: Vec<f32>,
    cols: usize,
}

impl<'a> Side<'a> {
    fn new(metric: Metric, x: Matrix<'a>) -> Self {
        let values = match metric {
            Metric::Cosine => Cow::Owned(normalize_rows(x).0),
            _ => Cow::Borrowed(x.data()),
        };
        let squares = match metric {
            Metric::Euclidean | Metric::SquaredEuclidean => (0..x.rows()).map(|i| dot(x.row(i), x.row(i))).collect(),
            _ => Vec::new(),
        };
        Self { values, squares, cols: x.cols() }
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.cols..][..self.cols]
    }
}

/// Scores of queries `first..` against the whole gallery into `out` `[count, gallery]`.
fn tile(metric: Metric, queries: &Side<'_>, gallery: &Side<'_>, first: usize, columns: usize, out: &mut [f32]) {
    let (count, d) = (out.len() / columns, queries.cols);
    let a = Strided::rows(&queries.values[first * d..][..count * d], d);
    product(count, columns, d, a, Strided::rows(&gallery.values, d).transposed(), out);
    if metric.is_similarity() {
        return;
    }
    for (i, row) in out.chunks_exact_mut(columns).enumerate() {
        let square = queries.squares[first + i];
        for (j, score) in row.iter_mut().enumerate() {
            let norms = square + gallery.squares[j];
            let mut distance = norms - 2.0 * *score;
            if distance < CANCELLED * norms {
                distance = squared_distance(queries.row(first + i), gallery.row(j));
            }
            *score = if metric == Metric::Euclidean { distance.sqrt() } else { distance };
        }
    }
}

/// All scores of `queries` (`[q, d]`) against `gallery` (`[m, d]`), row-major into `out` (`[q, m]`).
///
/// # Errors
/// When the vectors differ in length or `out` is not of `q·m` values.
pub fn scores(metric: Metric, queries: Matrix<'_>, gallery: Matrix<'_>, out: &mut [f32]) -> Result<()> {
    queries.same_width(gallery)?;
    if out.len() != queries.rows() * gallery.rows() {
        return Err(Error::Shape(format!(
            "scores of {} queries and {} gallery rows want {} places but were given {}",
            queries.rows(),
            gallery.rows(),
            queries.rows() * gallery.rows(),
            out.len()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    let (a, b) = (Side::new(metric, queries), Side::new(metric, gallery));
    let columns = gallery.rows();
    out.par_chunks_mut(TILE * columns).enumerate().for_each(|(t, out)| tile(metric, &a, &b, t * TILE, columns, out));
    Ok(())
}

/// Calls `f(query, scores against the whole gallery)` for every query, some at a time, in any order: the whole score
/// matrix never exists.
///
/// # Errors
/// When the vectors differ in length.
pub fn for_each_score_row(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    f: impl Fn(usize, &[f32]) + Sync,
) -> Result<()> {
    queries.same_width(gallery)?;
    let columns = gallery.rows();
    if columns == 0 {
        (0..queries.rows()).for_each(|q| f(q, &[]));
        return Ok(());
    }
    let (a, b) = (Side::new(metric, queries), Side::new(metric, gallery));
    (0..queries.rows().div_ceil(TILE)).into_par_iter().for_each_init(
        || vec![0f32; TILE * columns],
        |buffer, t| {
            let count = TILE.min(queries.rows() - t * TILE);
            let out = &mut buffer[..count * columns];
            tile(metric, &a, &b, t * TILE, columns, out);
            for (i, row) in out.chunks_exact(columns).enumerate() {
                f(t * TILE + i, row);
            }
        },
    );
    Ok(())
}
