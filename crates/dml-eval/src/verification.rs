//! Verification, 1:1: are two items of one class? All pairs of a set, each once.
//!
//! At threshold t a pair passes when it is at least as close. FAR(t) = share of impostor pairs that pass, TAR(t) = share of genuine
//! pairs that pass. EER is where FAR = 1 − TAR, interpolated linearly; TAR@FAR=f is taken at the loosest threshold with FAR ≤ f.

use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, for_each_score_row};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// Verification measures of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Equal error rate.
    pub eer: f64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// TAR at each FAR asked for.
    pub tar_at_far: Vec<TarAtFar>,
    /// Pairs of one class.
    pub genuine: usize,
    /// Pairs of two classes.
    pub impostors: usize,
}

/// One point of the ROC curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TarAtFar {
    /// FAR asked for.
    pub far: f64,
    /// TAR there.
    pub tar: f64,
    /// Whether there are fewer than 10/FAR impostor pairs: too few to measure it.
    pub too_few_impostors: bool,
}

/// Measures verification over all pairs of `embeddings` (`[n, d]`).
///
/// # Errors
/// When labels are not one per row, or there are no genuine or no impostor pairs.
pub fn verification(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], fars: &[f64]) -> Result<Verification> {
    check(embeddings, labels)?;
    // Larger is closer from here on.
    let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
    let pairs: Mutex<(Vec<f32>, Vec<f32>)> = Mutex::default();
    for_each_score_row(metric, embeddings, embeddings, |i, row| {
        let later = (i + 1)..labels.len();
        let (same, other): (Vec<usize>, Vec<usize>) = later.partition(|&j| labels[j] == labels[i]);
        let mut pairs = pairs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pairs.0.extend(same.iter().map(|&j| sign * row[j]));
        pairs.1.extend(other.iter().map(|&j| sign * row[j]));
    })?;
    let (genuine, impostors) = pairs.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    from_scores(genuine, impostors, fars)
}

/// Measures verification from scores where larger means closer.
///
/// # Errors
/// When one of the lists is empty or a FAR is not within 0..1.
pub fn from_scores(mut genuine: Vec<f32>, mut impostors: Vec<f32>, fars: &[f64]) -> Result<Verification> {
    if genuine.is_empty() || impostors.is_empty() {
        return Err(Error::Input(format!(
            "verification wants pairs of one class and of two, there are {} and {}: give two classes or more, one of them with two items",
            genuine.len(),
            impostors.len()
        )));
    }
    if let Some(far) = fars.iter().find(|f| !(0.0..1.0).contains(*f)) {
        return Err(Error::Input(format!("FAR is {far}: want 0 or more and less than 1")));
    }
    // Sorted, so the order in which threads delivered them is gone.
    genuine.sort_unstable_by(|a, b| b.total_cmp(a));
    impostors.sort_unstable_by(|a, b| b.total_cmp(a));
    let curve = roc(&genuine, &impostors);
    let tar_at_far = fars
        .iter()
        .map(|&far| TarAtFar {
            far,
            tar: curve.iter().take_while(|p| p.0 <= far).last().map_or(0.0, |p| p.1),
            too_few_impostors: (impostors.len() as f64) * far < 10.0,
        })
        .collect();
    let area = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
    Ok(Verification { eer: eer(&curve), auc: area, tar_at_far, genuine: genuine.len(), impostors: impostors.len() })
}

/// (FAR, TAR) at every distinct score, from (0, 0) on; both lists in falling order. Ties move together.
fn roc(genuine: &[f32], impostors: &[f32]) -> Vec<(f64, f64)> {
    let (mut g, mut i) = (0, 0);
    let mut curve = vec![(0.0, 0.0)];
    while g < genuine.len() || i < impostors.len() {
        let next = match (genuine.get(g), impostors.get(i)) {
            (Some(a), Some(b)) => a.max(*b),
            (Some(a), None) | (None, Some(a)) => *a,
            (None, None) => break,
        };
        while genuine.get(g).is_some_and(|s| *s >= next) {
            g += 1;
        }
        while impostors.get(i).is_some_and(|s| *s >= next) {
            i += 1;
        }
        curve.push((i as f64 / impostors.len() as f64, g as f64 / genuine.len() as f64));
    }
    curve
}

fn eer(curve: &[(f64, f64)]) -> f64 {
    for pair in curve.windows(2) {
        let gap = |p: (f64, f64)| p.0 - (1.0 - p.1);
        let (before, after) = (gap(pair[0]), gap(pair[1]));
        if after >= 0.0 {
            let share = if after > before { -before / (after - before) } else { 0.0 };
            return pair[0].0 + share * (pair[1].0 - pair[0].0);
        }
    }
    1.0
}
