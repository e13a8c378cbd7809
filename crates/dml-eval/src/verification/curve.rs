//! The ROC curve of two lists of scores, and what is read off it.

use super::corners::{Corner, Walk, merged, thinned};
use super::{TarAtFar, check_both_kinds, check_far, closeness_sign, not_finite, signed};
use crate::Result;
use crate::loosest::allowed;
use dml_core::Metric;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What happens at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The threshold, as the metric reports scores: a pair passes when it is at least as close.
    pub threshold: f32,
    /// Share of impostor pairs that pass: FAR, FMR, false positive rate.
    pub far: f64,
    /// Share of genuine pairs that pass: TAR, 1 − FNMR, true positive rate.
    pub tar: f64,
    /// Impostor pairs that pass.
    pub false_accepts: u64,
}

/// Equal error rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EqualError {
    /// FAR = FNMR, interpolated linearly between the corners of the curve.
    pub eer: f64,
    /// The threshold at which the two are nearest, as the metric reports scores; the stricter of equals.
    pub threshold: f32,
}

/// Largest share of pairs decided rightly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestAccuracy {
    /// (genuine that pass + impostors that do not) / pairs.
    pub accuracy: f64,
    /// The threshold that gives it, as the metric reports scores; the strictest of equals.
    pub threshold: f32,
}

/// The ROC curve of genuine and impostor scores. Exact: both lists are kept, sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Closeness of genuine pairs, falling.
    genuine: Vec<f32>,
    /// Closeness of impostor pairs, falling.
    impostors: Vec<f32>,
    /// From closeness to scores as the metric reports them.
    sign: f32,
}

impl Curve {
    /// The curve of scores where larger is closer.
    ///
    /// # Errors
    /// When one of the lists is empty or holds a score that is not finite.
    pub fn new(genuine: Vec<f32>, impostors: Vec<f32>) -> Result<Self> {
        Self::signed(1.0, genuine, impostors)
    }

    /// The curve of scores as `metric` reports them.
    ///
    /// # Errors
    /// As [`Curve::new`].
    pub fn of_metric(metric: Metric, genuine: Vec<f32>, impostors: Vec<f32>) -> Result<Self> {
        Self::signed(closeness_sign(metric), genuine, impostors)
    }

    fn signed(sign: f32, genuine: Vec<f32>, impostors: Vec<f32>) -> Result<Self> {
        check_both_kinds(genuine.len() as u64, impostors.len() as u64)?;
        let genuine = falling(sign, genuine, "genuine")?;
        Ok(Self { genuine, impostors: falling(sign, impostors, "impostor")?, sign })
    }

    /// Number of genuine pairs.
    pub fn genuine(&self) -> usize {
        self.genuine.len()
    }

    /// Number of impostor pairs.
    pub fn impostors(&self) -> usize {
        self.impostors.len()
    }

    /// What happens at `threshold`, given as the metric reports scores.
    pub fn at(&self, threshold: f32) -> OperatingPoint {
        self.point(self.passing(signed(self.sign, threshold)))
    }

    /// Share of pairs that `threshold`, given as the metric reports scores, decides rightly.
    pub fn accuracy_at(&self, threshold: f32) -> f64 {
        let passing = self.passing(signed(self.sign, threshold));
        self.right(&passing) as f64 / (self.genuine.len() + self.impostors.len()) as f64
    }

    /// Area under the ROC curve: the chance that a genuine pair is closer than an impostor pair, ties counted half.
    pub fn auc(&self) -> f64 {
        self.walk().area()
    }

    /// Equal error rate and its threshold.
    pub fn equal_error(&self) -> EqualError {
        let (eer, closeness) = self.walk().equal_error();
        EqualError { eer, threshold: signed(self.sign, closeness) }
    }

    /// TAR at the loosest threshold with FAR ≤ `far`: just past the impostor score that would break it, never interpolated.
    ///
    /// # Errors
    /// When `far` is not within 0..1.
    pub fn tar_at_far(&self, far: f64) -> Result<TarAtFar> {
        Ok(TarAtFar::new(far, self.impostors.len() as u64, self.at(self.threshold_at_far(far)?), None))
    }

    /// The loosest threshold with FAR ≤ `far`, as the metric reports scores.
    ///
    /// # Errors
    /// When `far` is not within 0..1.
    pub fn threshold_at_far(&self, far: f64) -> Result<f32> {
        check_far(far)?;
        // FAR is less than 1, so there is one more impostor than may pass.
        let breaking = self.impostors[allowed(far, self.impostors.len() as u64) as usize];
        Ok(signed(self.sign, breaking.next_up()))
    }

    /// FNMR at the loosest threshold with FMR ≤ `fmr`: 1 − TAR@FAR.
    ///
    /// # Errors
    /// When `fmr` is not within 0..1.
    pub fn fnmr_at_fmr(&self, fmr: f64) -> Result<f64> {
        Ok(1.0 - self.tar_at_far(fmr)?.tar)
    }

    /// The largest accuracy that one threshold gives. Where impostors outnumber genuine pairs it says little: refusing all
    /// is nearly always right.
    pub fn best_accuracy(&self) -> BestAccuracy {
        let (mut best, mut closeness) = (0, f32::INFINITY);
        for corner in self.corners() {
            let right = self.right(&corner);
            if right > best || closeness == f32::INFINITY {
                (best, closeness) = (right, corner.closeness);
            }
        }
        let pairs = self.genuine.len() + self.impostors.len();
        BestAccuracy { accuracy: best as f64 / pairs as f64, threshold: signed(self.sign, closeness) }
    }

    /// All points of the curve, one per distinct score, from the strictest; at the first nothing passes.
    pub fn roc(&self) -> Vec<OperatingPoint> {
        self.corners().map(|corner| self.point(corner)).collect()
    }

    /// At most `points` points of [`roc`](Self::roc) (two at least), for a plot. They lie evenly along the curve on probit axes,
    /// so the tails are kept whole.
    pub fn roc_thinned(&self, points: usize) -> Vec<OperatingPoint> {
        let (genuine, impostors) = (self.genuine.len() as u64, self.impostors.len() as u64);
        let corners = thinned(self.corners(), genuine, impostors, points);
        corners.into_iter().map(|corner| self.point(corner)).collect()
    }

    fn passing(&self, closeness: f32) -> Corner {
        let passing = |scores: &[f32]| scores.partition_point(|&s| s >= closeness) as u64;
        Corner { closeness, impostors: passing(&self.impostors), genuine: passing(&self.genuine) }
    }

    /// Pairs decided rightly.
    fn right(&self, passing: &Corner) -> u64 {
        passing.genuine + self.impostors.len() as u64 - passing.impostors
    }

    fn walk(&self) -> Walk {
        Walk::new(self.genuine.len() as u64, self.impostors.len() as u64).along(self.corners())
    }

    fn corners(&self) -> impl Iterator<Item = Corner> + '_ {
        merged(&self.genuine, &self.impostors)
    }

    fn point(&self, corner: Corner) -> OperatingPoint {
        point(corner, self.sign, self.genuine.len() as u64, self.impostors.len() as u64)
    }
}

/// A corner as the metric reports scores.
pub(super) fn point(corner: Corner, sign: f32, genuine: u64, impostors: u64) -> OperatingPoint {
    OperatingPoint {
        threshold: signed(sign, corner.closeness),
        far: corner.impostors as f64 / impostors as f64,
        tar: corner.genuine as f64 / genuine as f64,
        false_accepts: corner.impostors,
    }
}

/// Scores as closeness, largest first.
fn falling(sign: f32, mut scores: Vec<f32>, kind: &str) -> Result<Vec<f32>> {
    if let Some(i) = scores.iter().position(|s| !s.is_finite()) {
        return Err(not_finite(&format!("{kind} pair {i}"), scores[i]));
    }
    scores.par_iter_mut().for_each(|s| *s = signed(sign, *s));
    scores.par_sort_unstable_by(|a, b| b.total_cmp(a));
    Ok(scores)
}
