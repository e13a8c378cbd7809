//! The space as a picture: similarities of pairs.

use crate::Result;
use dml_core::{Matrix, Metric, self_scores};
use serde::Serialize;

/// Rows looked at, evenly spaced.
const ROWS: usize = 3000;
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
