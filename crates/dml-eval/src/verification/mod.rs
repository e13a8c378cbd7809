//! Verification, 1:1: are two items of one class?
//!
//! At threshold t a pair passes when it is at least as close. FAR(t) = share of impostor pairs that pass (also FMR, FPR),
//! TAR(t) = share of genuine pairs that pass, FNMR = 1 − TAR. All pairs of one score pass together. EER is where
//! FAR = 1 − TAR, interpolated linearly; TAR@FAR=f is taken at the loosest threshold with FAR ≤ f.
//!
//! * [`verification`]: all pairs of a set, each once, exact or with bounds ([`Limits`]).
//! * [`Curve`]: everything from two lists of scores.
//! * [`PairList`], [`LfwPairs`]: pairs that a file names; [`k_fold`] measures them as LFW's protocol does.
//! * [`bootstrap()`], [`compare`]: how sure these numbers are, and whether two systems differ.

mod all_pairs;
mod binning;
mod bootstrap;
mod corners;
mod curve;
mod det;
mod folds;
mod lfw;
mod pairs;
mod resampling;
mod sample;
mod streamed;
mod tail;
mod weighted;

pub(crate) use all_pairs::kinds;
pub use bootstrap::{bootstrap, bootstrap_pairs, compare, compare_pairs};
pub use curve::{BestAccuracy, Curve, EqualError, OperatingPoint};
pub use det::{DetPoint, PROBIT_TICKS, probit};
pub use folds::{Fold, FoldedTar, KFold, Spread, ThresholdSearch, k_fold};
pub use lfw::{LfwPair, LfwPairs};
pub use pairs::{Pair, PairList};
pub use resampling::{Bootstrap, Comparison, Difference, Interval, VerificationIntervals};

use crate::{Error, Result, check};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

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
    /// Threshold at which FAR and 1 − TAR are nearest, as the metric reports scores. None in older files.
    #[serde(default)]
    pub eer_threshold: Option<f32>,
    /// Where EER and AUC certainly lie. None where they are exact.
    #[serde(default)]
    pub bounds: Option<Bounds>,
}

/// Where measures certainly lie when impostor scores were counted in bins: (least, most).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Of the equal error rate.
    pub eer: (f64, f64),
    /// Of the area under the ROC curve.
    pub auc: (f64, f64),
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
    /// Where this was measured: threshold, achieved FAR, false accepts. None in older files.
    #[serde(default)]
    pub point: Option<OperatingPoint>,
    /// The most that TAR can be, where impostor scores were counted in bins; `tar` is the least. None where it is exact.
    #[serde(default)]
    pub tar_at_most: Option<f64>,
}

impl TarAtFar {
    /// Whether at least 30 impostor pairs passed: then the true FAR is within ±30 % of the achieved one with 90 % confidence.
    /// Doddington et al., *The NIST speaker recognition evaluation*, 2000 ("rule of 30").
    pub fn rule_of_30(&self) -> bool {
        self.point.is_some_and(|point| point.false_accepts >= 30)
    }

    fn new(far: f64, impostors: u64, point: OperatingPoint, tar_at_most: Option<f64>) -> Self {
        let too_few_impostors = (impostors as f64) * far < 10.0;
        Self { far, tar: point.tar, too_few_impostors, point: Some(point), tar_at_most }
    }
}

/// How much memory the measuring of all pairs may take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Up to so many pairs all scores are stored and every number is exact. Default 2²⁴ (64 MiB).
    pub stored_pairs: usize,
    /// Above that, so many of the closest impostor pairs are stored at most, and TAR is exact for each FAR that they reach.
    /// Default 2²² (about 100 MiB while they are gathered).
    pub tail_pairs: usize,
    /// Genuine pairs are all stored, 8 bytes each; more than so many are refused. Default 2²⁸ (2 GiB).
    pub genuine_pairs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stored_pairs: 1 << 24, tail_pairs: 1 << 22, genuine_pairs: 1 << 28 }
    }
}

/// Measures verification over all pairs of `embeddings` (`[n, d]`), within the default [`Limits`]. Memory grows with the
/// genuine pairs (8 bytes each), not with n².
///
/// # Errors
/// When labels are not one per row, there are no genuine or no impostor pairs, a FAR is not within 0..1, or a score is not
/// finite, or there are more genuine pairs than may be stored.
pub fn verification(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], fars: &[f64]) -> Result<Verification> {
    Ok(measured(metric, embeddings, labels, fars, None, &Limits::default())?.0)
}

/// [`verification`] within given limits, and its ROC curve in at most `points` points for a plot ([`Curve::roc_thinned`]).
///
/// # Errors
/// As [`verification`].
pub fn verification_with_roc(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    fars: &[f64],
    points: usize,
    limits: &Limits,
) -> Result<(Verification, Vec<OperatingPoint>)> {
    measured(metric, embeddings, labels, fars, Some(points), limits)
}

fn measured(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    fars: &[f64],
    points: Option<usize>,
    limits: &Limits,
) -> Result<(Verification, Vec<OperatingPoint>)> {
    check(embeddings, labels)?;
    fars.iter().try_for_each(|&far| check_far(far))?;
    let n = labels.len();
    if n * (n - 1) / 2 <= limits.stored_pairs {
        let (genuine, impostors) = all_pairs::stored_scores(metric, embeddings, labels)?;
        let curve = Curve::of_metric(metric, genuine, impostors)?;
        return Ok((of_curve(&curve, fars)?, points.map_or_else(Vec::new, |points| curve.roc_thinned(points))));
    }
    streamed::measure(metric, embeddings, labels, fars, points, limits)
}

/// Measures verification from scores where larger means closer.
///
/// # Errors
/// When one of the lists is empty, a score is not finite or a FAR is not within 0..1.
pub fn from_scores(genuine: Vec<f32>, impostors: &[f32], fars: &[f64]) -> Result<Verification> {
    of_curve(&Curve::new(genuine, impostors.to_vec())?, fars)
}

fn of_curve(curve: &Curve, fars: &[f64]) -> Result<Verification> {
    let equal = curve.equal_error();
    Ok(Verification {
        eer: equal.eer,
        auc: curve.auc(),
        tar_at_far: fars.iter().map(|&far| curve.tar_at_far(far)).collect::<Result<_>>()?,
        genuine: curve.genuine(),
        impostors: curve.impostors(),
        eer_threshold: Some(equal.threshold),
        bounds: None,
    })
}

/// +1 where larger scores are closer, −1 where smaller ones are: `sign · score` is a closeness.
fn closeness_sign(metric: Metric) -> f32 {
    if metric.is_similarity() { 1.0 } else { -1.0 }
}

/// A score from a closeness and back; never −0.
fn signed(sign: f32, score: f32) -> f32 {
    sign * score + 0.0
}

fn check_far(far: f64) -> Result<()> {
    if (0.0..1.0).contains(&far) {
        return Ok(());
    }
    Err(Error::Input(format!("FAR is {far}: want 0 or more and less than 1")))
}

fn check_both_kinds(genuine: u64, impostors: u64) -> Result<()> {
    if genuine > 0 && impostors > 0 {
        return Ok(());
    }
    Err(Error::Input(format!(
        "verification wants pairs of one class and of two, there are {genuine} and {impostors}: give two classes or more, \
         one of them with two items"
    )))
}

fn not_finite(what: &str, score: f32) -> Error {
    Error::Input(format!("{what} has the score {score}: check the embeddings, their scale and the metric"))
}
