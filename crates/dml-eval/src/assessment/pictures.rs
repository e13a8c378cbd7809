//! The space as pictures: similarities of pairs, and a projection to two dimensions.

use crate::Result;
use crate::postprocess::Pca;
use dml_core::{Matrix, Metric, Projection, self_scores};
use serde::Serialize;

/// Rows looked at, evenly spaced.
const ROWS: usize = 3000;
const PROJECTED: usize = 5000;
const BINS: usize = 80;

/// Scores of pairs of one class and of two, as shares of bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarities {
    /// Ends of the bins, `[bins + 1]`.
    pub edges: Vec<f64>,
    /// Density of pairs of one class, `[bins]`.
    pub genuine: Vec<f64>,
    /// Density of pairs of two classes, `[bins]`.
    pub impostor: Vec<f64>,
    /// Rows whose pairs were looked at.
    pub rows: usize,
}

/// A row in two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProjectedPoint {
    /// The row.
    pub row: u32,
    /// First principal component.
    pub x: f32,
    /// Second one.
    pub y: f32,
}

/// Evenly spaced rows, at most so many.
fn spaced(n: usize, most: usize) -> Vec<usize> {
    let count = n.min(most);
    (0..count).map(|k| k * n / count).collect()
}

fn chosen(x: Matrix<'_>, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|&i| x.row(i)).copied().collect()
}

pub(super) fn similarities(metric: Metric, x: Matrix<'_>, labels: &[u32]) -> Result<Option<Similarities>> {
    let rows = spaced(x.rows(), ROWS);
    let values = chosen(x, &rows);
    let mut scores = vec![0f32; rows.len() * rows.len()];
    self_scores(metric, Matrix::new(&values, rows.len(), x.cols())?, &mut scores)?;
    let pairs = || {
        let each = (0..rows.len()).flat_map(|i| (i + 1..rows.len()).map(move |j| (i, j)));
        each.map(|(i, j)| (labels[rows[i]] == labels[rows[j]], scores[i * rows.len() + j])).filter(|p| p.1.is_finite())
    };
    let (low, high) = pairs().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), (_, s)| (a.min(s), b.max(s)));
    if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
        return Ok(None);
    }
    let width = f64::from(high - low) / BINS as f64;
    let mut counts = [vec![0f64; BINS], vec![0f64; BINS]];
    for (same, score) in pairs() {
        let bin = (f64::from(score - low) / width) as usize;
        counts[usize::from(!same)][bin.min(BINS - 1)] += 1.0;
    }
    let [genuine, impostor] = counts.map(|counts| {
        let total = counts.iter().sum::<f64>().max(1.0) * width;
        counts.into_iter().map(|count| count / total).collect()
    });
    let edges = (0..=BINS).map(|k| f64::from(low) + k as f64 * width).collect();
    Ok(Some(Similarities { edges, genuine, impostor, rows: rows.len() }))
}

/// The first two principal components of a sample: of unit rows for cosine.
pub(super) fn projection(metric: Metric, x: Matrix<'_>) -> Result<Vec<ProjectedPoint>> {
    let rows = spaced(x.rows(), PROJECTED);
    if rows.len() < 3 || x.cols() < 2 {
        return Ok(Vec::new());
    }
    let mut values = chosen(x, &rows);
    if metric == Metric::Cosine {
        values = Projection::Unit.apply(Matrix::new(&values, rows.len(), x.cols())?).values;
    }
    let sample = Matrix::new(&values, rows.len(), x.cols())?;
    let flat = Pca::fit(sample, Some(2))?.transform(sample)?;
    let point = |(&row, at): (&usize, &[f32])| ProjectedPoint { row: row as u32, x: at[0], y: at[1] };
    Ok(rows.iter().zip(flat.chunks_exact(2)).map(point).collect())
}
