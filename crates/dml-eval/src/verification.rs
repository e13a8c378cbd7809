//! Verification, 1:1: are two items of one class? All pairs of a set, each once.
//!
//! At threshold t a pair passes when it is at least as close. FAR(t) = share of impostor pairs that pass, TAR(t) = share of genuine
//! pairs that pass. EER is where FAR = 1 − TAR, interpolated linearly; TAR@FAR=f is taken at the loosest threshold with FAR ≤ f.

use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, for_each_score_row};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

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

/// Measures verification over all pairs of `embeddings` (`[n, d]`). Memory grows with the genuine pairs, not with n².
///
/// # Errors
/// When labels are not one per row, or there are no genuine or no impostor pairs.
pub fn verification(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], fars: &[f64]) -> Result<Verification> {
    check(embeddings, labels)?;
    // Larger is closer from here on.
    let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
    let genuine = Mutex::new(Vec::new());
    for_each_score_row(metric, embeddings, embeddings, |i, row| {
        let same = (i + 1..labels.len()).filter(|&j| labels[j] == labels[i]);
        let same: Vec<f32> = same.map(|j| sign * row[j]).collect();
        genuine.lock().unwrap_or_else(PoisonError::into_inner).extend(same);
    })?;
    let bins = Bins::new(genuine.into_inner().unwrap_or_else(PoisonError::into_inner));
    for_each_score_row(metric, embeddings, embeddings, |i, row| {
        let other = (i + 1..labels.len()).filter(|&j| labels[j] != labels[i]);
        other.for_each(|j| bins.add(sign * row[j]));
    })?;
    bins.measure(fars)
}

/// Measures verification from scores where larger means closer.
///
/// # Errors
/// When one of the lists is empty or a FAR is not within 0..1.
pub fn from_scores(genuine: Vec<f32>, impostors: &[f32], fars: &[f64]) -> Result<Verification> {
    let bins = Bins::new(genuine);
    impostors.iter().for_each(|&score| bins.add(score));
    bins.measure(fars)
}

/// Impostor pairs counted between the genuine scores: all that the ROC curve needs, in any order of arrival.
struct Bins {
    /// Distinct genuine scores, falling, and how many pairs have each.
    genuine: Vec<(f32, usize)>,
    /// Impostors above score k (and below k − 1) at 2k, equal to it at 2k + 1, below all at the end.
    impostors: Vec<AtomicUsize>,
}

impl Bins {
    fn new(mut scores: Vec<f32>) -> Self {
        // Sorted, so the order in which threads delivered them is gone.
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut genuine: Vec<(f32, usize)> = Vec::new();
        for score in scores {
            match genuine.last_mut() {
                Some((last, count)) if *last == score => *count += 1,
                _ => genuine.push((score, 1)),
            }
        }
        let impostors = (0..=2 * genuine.len()).map(|_| AtomicUsize::new(0)).collect();
        Self { genuine, impostors }
    }

    fn add(&self, score: f32) {
        let k = self.genuine.partition_point(|(genuine, _)| *genuine > score);
        let equal = self.genuine.get(k).is_some_and(|(genuine, _)| *genuine == score);
        self.impostors[2 * k + usize::from(equal)].fetch_add(1, Ordering::Relaxed);
    }

    fn measure(self, fars: &[f64]) -> Result<Verification> {
        let genuine: usize = self.genuine.iter().map(|(_, count)| count).sum();
        let bins: Vec<usize> = self.impostors.into_iter().map(AtomicUsize::into_inner).collect();
        let impostors: usize = bins.iter().sum();
        if genuine == 0 || impostors == 0 {
            return Err(Error::Input(format!(
                "verification wants pairs of one class and of two, there are {genuine} and {impostors}: give two classes or \
                 more, one of them with two items"
            )));
        }
        if let Some(far) = fars.iter().find(|f| !(0.0..1.0).contains(*f)) {
            return Err(Error::Input(format!("FAR is {far}: want 0 or more and less than 1")));
        }
        let counts: Vec<usize> = self.genuine.iter().map(|(_, count)| *count).collect();
        let curve = roc(&counts, &bins, genuine, impostors);
        let tar_at_far = fars.iter().map(|&far| TarAtFar {
            far,
            tar: curve.iter().take_while(|p| p.0 <= far).last().map_or(0.0, |p| p.1),
            too_few_impostors: (impostors as f64) * far < 10.0,
        });
        let tar_at_far = tar_at_far.collect();
        let auc = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
        Ok(Verification { eer: eer(&curve), auc, tar_at_far, genuine, impostors })
    }
}

/// The corners of the curve (FAR, TAR), from (0, 0) to (1, 1). Ties move together.
fn roc(genuine: &[usize], impostors: &[usize], all_genuine: usize, all_impostors: usize) -> Vec<(f64, f64)> {
    let (mut g, mut i) = (0, 0);
    let mut curve = vec![(0.0, 0.0)];
    let mut corner = |i: usize, g: usize| curve.push((i as f64 / all_impostors as f64, g as f64 / all_genuine as f64));
    for (k, count) in genuine.iter().enumerate() {
        i += impostors[2 * k];
        corner(i, g);
        (i, g) = (i + impostors[2 * k + 1], g + count);
        corner(i, g);
    }
    corner(all_impostors, all_genuine);
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
