//! Lengths of the rows, rows of zeros, and rows that are there twice.

use super::spread::Spread;
use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::{Matrix, Nearest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Lengths of the rows, and how many are nothing or nothing new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Norms {
    /// Of `‖x‖`, before any normalisation.
    pub spread: Spread,
    /// Rows of zeros.
    pub zero_rows: usize,
    /// Rows equal in every number to a row before them.
    pub repeated_rows: usize,
}

/// Lengths of the rows of `embeddings` (`[n, d]`).
///
/// # Errors
/// When there are no rows or columns, or a value is not finite.
pub fn norms(embeddings: Matrix<'_>) -> Result<Norms> {
    check_rows("norms", embeddings, 1)?;
    let lengths: Vec<f64> = (0..embeddings.rows()).into_par_iter().map(|i| length(embeddings.row(i))).collect();
    let zero_rows = lengths.iter().filter(|&&l| l == 0.0).count();
    let mut order: Vec<usize> = (0..embeddings.rows()).collect();
    let by_values =
        |&a: &usize, &b: &usize| embeddings.row(a).partial_cmp(embeddings.row(b)).unwrap_or(Ordering::Equal);
    order.par_sort_unstable_by(by_values);
    let repeated_rows = order.windows(2).filter(|pair| embeddings.row(pair[0]) == embeddings.row(pair[1])).count();
    let spread = Spread::of(lengths).ok_or_else(|| Error::Input("norms of no rows".to_owned()))?;
    Ok(Norms { spread, zero_rows, repeated_rows })
}

/// Rows whose nearest neighbour is next to them. By dot product the nearest is the longest, not the next: search by another
/// metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearDuplicates {
    /// Near is `‖a − b‖ ≤ tolerance · max(‖a‖, ‖b‖)`.
    pub tolerance: f64,
    /// Rows that are near their nearest neighbour.
    pub rows: usize,
    /// Those of them whose neighbour is of another class: one of the two labels may be wrong.
    pub of_other_classes: usize,
}

/// Counts the rows of `embeddings` (`[n, d]`) that are near the first of their neighbours in `found`, a search of the set in
/// itself without the query (`Exclude::SelfIndex`).
///
/// # Errors
/// When labels or neighbours are not one per row, a neighbour is no row, or the tolerance is not 0 or more.
pub fn near_duplicates(
    embeddings: Matrix<'_>,
    labels: &[u32],
    found: &Nearest,
    tolerance: f64,
) -> Result<NearDuplicates> {
    crate::check(embeddings, labels)?;
    if found.queries() != labels.len() {
        let (lists, rows) = (found.queries(), labels.len());
        return Err(Error::Input(format!("{lists} lists of neighbours for {rows} rows: search the set in itself")));
    }
    if !(tolerance >= 0.0 && tolerance.is_finite()) {
        return Err(Error::Input(format!("a tolerance of near duplicates of {tolerance}: want 0 or more")));
    }
    let (mut rows, mut of_other_classes) = (0, 0);
    for q in 0..labels.len() {
        let Some(&other) = found.ids_of(q).first() else { continue };
        let other = other as usize;
        if other >= labels.len() {
            return Err(Error::Input(format!("neighbour {other} of row {q} is no row: search the set in itself")));
        }
        let (a, b) = (embeddings.row(q), embeddings.row(other));
        let apart = a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt();
        if apart <= tolerance * length(a).max(length(b)) {
            rows += 1;
            of_other_classes += usize::from(labels[q] != labels[other]);
        }
    }
    Ok(NearDuplicates { tolerance, rows, of_other_classes })
}

fn length(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}
