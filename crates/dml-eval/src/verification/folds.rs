//! k-fold verification, as LFW's protocol has it: each fold is judged at the threshold that the other folds give.

use super::{BestAccuracy, Curve, PairList, check_far};
use crate::statistics::{mean, std};
use crate::{Error, Result};
use dml_core::Metric;
use serde::{Deserialize, Serialize};

/// Where thresholds are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ThresholdSearch {
    /// At every distinct score of the other folds. A pair passes when it is at least as close as the threshold.
    Exact,
    /// On a grid 0, step, 2·step, … below `end` of scores as the metric reports them. A pair passes when it is strictly closer.
    /// Among equally good thresholds the first of the grid is taken. For a FAR the threshold is interpolated linearly between
    /// grid points (it may pass more than that FAR) and is 0 where the grid never reaches it.
    Grid {
        /// First threshold that is not tried.
        end: f64,
        /// Step where accuracy is sought.
        accuracy_step: f64,
        /// Step where a FAR is sought.
        far_step: f64,
    },
}

impl ThresholdSearch {
    /// What facenet's and insightface's evaluation does with squared Euclidean distances of unit vectors: 0…4 by 0.01 for
    /// accuracy and by 0.001 for TAR@FAR.
    pub const INSIGHTFACE: Self = Self::Grid { end: 4.0, accuracy_step: 0.01, far_step: 0.001 };
}

/// Mean over folds, and how far they scatter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean over folds.
    pub mean: f64,
    /// Population standard deviation (divisor k): the ± that facenet and insightface print, numpy's default.
    pub population_std: f64,
    /// Standard error of the mean, s/√k with the sample deviation s (divisor k − 1): the ± of LFW's own result tables.
    pub standard_error: f64,
}

impl Spread {
    /// Of one value per fold.
    fn of(values: &[f64]) -> Self {
        let (k, mean) = (values.len() as f64, mean(values));
        let population_std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / k).sqrt();
        Self { mean, population_std, standard_error: std(values) / k.sqrt() }
    }
}

/// TAR of one fold at the threshold that the other folds give for a FAR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldedTar {
    /// FAR asked for.
    pub far: f64,
    /// Threshold from the other folds, as the metric reports scores.
    pub threshold: f64,
    /// TAR of this fold there.
    pub tar: f64,
    /// FAR of this fold there.
    pub achieved_far: f64,
}

/// One fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Threshold with the best accuracy on the other folds, as the metric reports scores.
    pub threshold: f64,
    /// Share of this fold's pairs that it decides rightly.
    pub accuracy: f64,
    /// TAR at each FAR asked for.
    pub tar_at_far: Vec<FoldedTar>,
}

/// k-fold verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KFold {
    /// Fold by fold.
    pub folds: Vec<Fold>,
    /// Accuracy over folds.
    pub accuracy: Spread,
    /// (FAR asked for, TAR over folds, achieved FAR over folds).
    pub tar_at_far: Vec<(f64, Spread, Spread)>,
}

/// Measures `scores` (one per pair, as the metric reports them) fold by fold.
///
/// # Errors
/// When scores are not one per pair or not finite, there are fewer than two folds, a fold lacks genuine or impostor pairs, a
/// FAR is not within 0..1, or a grid has no step.
pub fn k_fold(
    metric: Metric,
    scores: &[f32],
    pairs: &PairList,
    fars: &[f64],
    search: ThresholdSearch,
) -> Result<KFold> {
    pairs.check_scores(scores)?;
    fars.iter().try_for_each(|&far| check_far(far))?;
    let k = pairs.folds();
    // A fold without pairs is refused before its number can cost anything.
    if k < 2 || k > pairs.pairs().len() {
        return Err(Error::Input(format!(
            "{} pairs are in {k} folds: want two folds or more, none of them empty, numbered from 0",
            pairs.pairs().len()
        )));
    }
    let grid = Grid::new(search)?;
    let part = |fold: usize, held_out: bool| {
        let curve = pairs.curve_where(metric, scores, |pair| (pair.fold == fold) == held_out);
        curve.map_err(|error| Error::Input(format!("fold {fold}: {error}")))
    };
    // All of them first: then it is known which fold lacks pairs.
    let tests = (0..k).map(|fold| part(fold, true)).collect::<Result<Vec<Curve>>>()?;
    let folds = tests.iter().enumerate().map(|(fold, test)| match (part(fold, false)?, &grid) {
        (others, None) => exact(&others, test, fars),
        (others, Some(grid)) => Ok(grid.measure(metric, &others, test, fars)),
    });
    let folds = folds.collect::<Result<Vec<Fold>>>()?;
    let spread = |value: &dyn Fn(&Fold) -> f64| Spread::of(&folds.iter().map(value).collect::<Vec<f64>>());
    let tar_at_far = fars.iter().enumerate().map(|(i, &far)| {
        (far, spread(&|fold| fold.tar_at_far[i].tar), spread(&|fold| fold.tar_at_far[i].achieved_far))
    });
    Ok(KFold { accuracy: spread(&|fold| fold.accuracy), tar_at_far: tar_at_far.collect(), folds })
}

fn exact(others: &Curve, test: &Curve, fars: &[f64]) -> Result<Fold> {
    let BestAccuracy { threshold, .. } = others.best_accuracy();
    let at_far = |&far: &f64| -> Result<FoldedTar> {
        let threshold = others.threshold_at_far(far)?;
        let here = test.at(threshold);
        Ok(FoldedTar { far, threshold: f64::from(threshold), tar: here.tar, achieved_far: here.far })
    };
    Ok(Fold {
        threshold: f64::from(threshold),
        accuracy: test.accuracy_at(threshold),
        tar_at_far: fars.iter().map(at_far).collect::<Result<_>>()?,
    })
}

/// Thresholds that are tried.
struct Grid {
    accuracy: Vec<f64>,
    far: Vec<f64>,
}

impl Grid {
    fn new(search: ThresholdSearch) -> Result<Option<Self>> {
        /// More would be a mistake in the step.
        const MOST: f64 = 1e6;
        let ThresholdSearch::Grid { end, accuracy_step, far_step } = search else { return Ok(None) };
        let points = |step: f64| {
            let count = (end / step).ceil();
            if step > 0.0 && (1.0..=MOST).contains(&count) {
                return Ok((0..count as usize).map(|i| i as f64 * step).collect());
            }
            Err(Error::Input(format!("a grid of thresholds 0..{end} by {step}: want 1 to {MOST} thresholds")))
        };
        Ok(Some(Self { accuracy: points(accuracy_step)?, far: points(far_step)? }))
    }

    fn measure(&self, metric: Metric, others: &Curve, test: &Curve, fars: &[f64]) -> Fold {
        let rates = |curve: &Curve, threshold: f64| {
            let point = curve.at(strictly_closer(metric, threshold));
            (point.tar, point.far)
        };
        let accuracy_at = |curve: &Curve, threshold: f64| curve.accuracy_at(strictly_closer(metric, threshold));
        let mut best = (f64::NEG_INFINITY, 0.0);
        for &threshold in &self.accuracy {
            let reached = accuracy_at(others, threshold);
            if reached > best.0 {
                best = (reached, threshold);
            }
        }
        let reached: Vec<f64> = self.far.iter().map(|&threshold| rates(others, threshold).1).collect();
        let at_far = |&far: &f64| {
            let threshold = self.interpolated(&reached, far);
            let (tar, achieved_far) = rates(test, threshold);
            FoldedTar { far, threshold, tar, achieved_far }
        };
        Fold { threshold: best.1, accuracy: accuracy_at(test, best.1), tar_at_far: fars.iter().map(at_far).collect() }
    }

    /// The threshold at which FAR, taken as linear between grid points, is `far`; the last where it stays there for a while;
    /// 0 where it never gets there.
    fn interpolated(&self, reached: &[f64], far: f64) -> f64 {
        let rising = reached.first() <= reached.last();
        // On a grid of similarities FAR falls: walk it from the other side.
        let at = |i: usize| if rising { i } else { reached.len() - 1 - i };
        let last = (0..reached.len()).take_while(|&i| reached[at(i)] <= far).count();
        if last == 0 || reached[at(reached.len() - 1)] < far {
            return 0.0;
        }
        let (low, high) = (at(last - 1), at(last.min(reached.len() - 1)));
        let step = reached[high] - reached[low];
        let share = if step > 0.0 { (far - reached[low]) / step } else { 0.0 };
        self.far[low] + share * (self.far[high] - self.far[low])
    }
}

/// The score at or past which a pair is strictly closer than `threshold`: a score is `f32`, the grid is not.
fn strictly_closer(metric: Metric, threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if metric.is_similarity() {
        if f64::from(nearest) > threshold { nearest } else { nearest.next_up() }
    } else if f64::from(nearest) < threshold {
        nearest
    } else {
        nearest.next_down()
    }
}
