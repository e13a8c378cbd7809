//! Alignment and uniformity on the unit sphere. Wang & Isola, *Understanding Contrastive Representation Learning through
//! Alignment and Uniformity on the Hypersphere*, 2020, §4.1.2; the smaller, the better.
//!
//! * Alignment `E ‖x − y‖^α` over pairs of one class, each with the same weight; α = 2 in the paper.
//! * Uniformity `log E exp(−t‖x − y‖²)` over pairs of different rows; t = 2 in the paper.
//!
//! Rows are brought to length 1; rows of zeros stay zeros, at distance 1 of all others.

use super::pairs::{Classes, Kind, PairSampling, pairs};
use crate::finite::check_rows;
use crate::pair_distance::pair_distance;
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, Projection, for_each_score_row};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// A mean over pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverPairs {
    /// Alignment or uniformity.
    pub value: f64,
    /// Pairs that there are.
    pub pairs: u64,
    /// Pairs looked at; a sample where fewer than `pairs`.
    pub measured: u64,
}

/// Alignment of `embeddings` (`[n, d]`) with exponent `alpha`.
///
/// # Errors
/// When labels are not one per row, a value is not finite, no class has two rows, no pair may be looked at, or alpha is not
/// above 0.
pub fn alignment(embeddings: Matrix<'_>, labels: &[u32], alpha: f64, sampling: &PairSampling) -> Result<OverPairs> {
    check(embeddings, labels)?;
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(Error::Input(format!("alignment with alpha = {alpha}: want a number above 0, such as 2")));
    }
    let found = pairs(Kind::Intra, &Classes::of(labels), sampling)?;
    if found.pairs.is_empty() {
        return Err(Error::Input("alignment: no class has two rows, so that there is no pair to align".to_owned()));
    }
    let unit = Projection::Unit.apply(embeddings).values;
    let unit = Matrix::new(&unit, embeddings.rows(), embeddings.cols())?;
    let term = |&(a, b): &(u32, u32)| square(unit, a, b).powf(0.5 * alpha);
    let terms: Vec<f64> = found.pairs.par_iter().map(term).collect();
    let measured = terms.len() as u64;
    Ok(OverPairs { value: crate::statistics::mean(&terms), pairs: found.population, measured })
}

/// Uniformity of `embeddings` (`[n, d]`) with temperature `t`: over all pairs for up to `exact_rows` rows, by blocks (time
/// O(n²d), memory O(n)), over a sample of pairs for more.
///
/// # Errors
/// When there are fewer than two rows, a value is not finite, no pair may be looked at, or t is not above 0 and at most 100.
pub fn uniformity(embeddings: Matrix<'_>, t: f64, exact_rows: usize, sampling: &PairSampling) -> Result<OverPairs> {
    check_rows("uniformity", embeddings, 2)?;
    // Beyond, the exponentials of far pairs are no numbers any more, and the logarithm of none of them is −∞.
    if !(t > 0.0 && t <= 100.0) {
        return Err(Error::Input(format!("uniformity with t = {t}: want a number above 0 and at most 100, such as 2")));
    }
    let n = embeddings.rows();
    let unit = Projection::Unit.apply(embeddings).values;
    let unit = Matrix::new(&unit, n, embeddings.cols())?;
    let population = n as u64 * (n as u64 - 1) / 2;
    let (sum, measured) = if n <= exact_rows {
        (sum_of_all(unit, t)?, population)
    } else {
        let found = pairs(Kind::Any, &Classes::one(n), sampling)?;
        let term = |&(a, b): &(u32, u32)| (-t * square(unit, a, b)).exp();
        let terms: Vec<f64> = found.pairs.par_iter().map(term).collect();
        (terms.iter().sum(), terms.len() as u64)
    };
    Ok(OverPairs { value: (sum / measured as f64).ln(), pairs: population, measured })
}

fn square(x: Matrix<'_>, a: u32, b: u32) -> f64 {
    pair_distance(Metric::SquaredEuclidean, x.row(a as usize), x.row(b as usize))
}

/// `Σ exp(−t‖x − y‖²)` over all pairs, each once.
fn sum_of_all(x: Matrix<'_>, t: f64) -> Result<f64> {
    // A sum per row, added in the order of the rows: the same on any number of threads.
    let sums: Vec<AtomicU64> = (0..x.rows()).map(|_| AtomicU64::new(0)).collect();
    for_each_score_row(Metric::SquaredEuclidean, x, x, |i, row| {
        let sum: f64 = row[i + 1..].iter().map(|&square| (-t * f64::from(square)).exp()).sum();
        sums[i].store(sum.to_bits(), Ordering::Relaxed);
    })?;
    Ok(sums.into_iter().map(|sum| f64::from_bits(sum.into_inner())).sum())
}
