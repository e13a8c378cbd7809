//! Scores with what is true of them: what calibration is fitted on and measured by.

use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, for_each_score_row};
use std::sync::{Mutex, PoisonError};

/// All pairs of a set, each once, in the order (0, 1), (0, 2) … (1, 2) …
#[derive(Clone, Debug, PartialEq)]
pub struct PairOutcomes {
    /// Closeness: the score of a similarity, minus the score of a distance.
    pub closeness: Vec<f64>,
    /// Whether the two are of one class.
    pub same: Vec<bool>,
}

impl PairOutcomes {
    /// Pairs that are held at most: 9 bytes each.
    pub const MOST: usize = 100_000_000;

    /// Of all pairs of `embeddings` (`[n, d]`).
    ///
    /// # Errors
    /// When labels are not one per row, an embedding is not finite, or there are more than [`MOST`](Self::MOST) pairs.
    pub fn of_set(metric: Metric, embeddings: Matrix<'_>, labels: &[u32]) -> Result<Self> {
        check(embeddings, labels)?;
        let n = labels.len();
        let pairs = n.saturating_mul(n - 1) / 2;
        if pairs > Self::MOST {
            return Err(Error::Input(format!(
                "{pairs} pairs of {n} embeddings are more than the {} that are held: calibrate on fewer classes",
                Self::MOST
            )));
        }
        let sign = -metric.sign();
        let rows: Vec<Mutex<Vec<f64>>> = (0..n).map(|_| Mutex::default()).collect();
        for_each_score_row(metric, embeddings, embeddings, |i, row| {
            let row = row[i + 1..].iter().map(|&score| sign * f64::from(score)).collect();
            *rows[i].lock().unwrap_or_else(PoisonError::into_inner) = row;
        })?;
        let closeness = rows.into_iter().flat_map(|row| row.into_inner().unwrap_or_else(PoisonError::into_inner));
        let same = (0..n).flat_map(|i| labels[i + 1..].iter().map(move |label| *label == labels[i]));
        Ok(Self { closeness: closeness.collect(), same: same.collect() })
    }
}

/// Refuses lists of unequal length, values that are not finite, and outcomes that are all the same. Answers how many
/// outcomes are true, and how many are not.
pub(super) fn check_outcomes(what: &str, values: &[f64], outcomes: &[bool]) -> Result<(usize, usize)> {
    if values.len() != outcomes.len() {
        let (v, o) = (values.len(), outcomes.len());
        return Err(Error::Input(format!("{what}: {v} values but {o} outcomes: give one for each")));
    }
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::Input(format!("{what}: value {i} is {}: want finite numbers", values[i])));
    }
    let positives = outcomes.iter().filter(|&&outcome| outcome).count();
    let negatives = outcomes.len() - positives;
    match positives.min(negatives) {
        0 => Err(Error::Input(format!(
            "{what}: {positives} outcomes are true and {negatives} are not: both kinds are wanted, calibrate on more pairs"
        ))),
        _ => Ok((positives, negatives)),
    }
}
