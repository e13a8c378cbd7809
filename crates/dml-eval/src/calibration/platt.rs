//! Platt scaling: a sigmoid from score to probability.

use super::outcomes::check_outcomes;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// `P(same | s) = 1 / (1 + exp(A s + B))`. Monotone: rising where A < 0, which is so when larger scores are more often
/// true.
///
/// Platt, *Probabilistic Outputs for Support Vector Machines*, 1999.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// A.
    pub slope: f64,
    /// B.
    pub intercept: f64,
    /// True outcomes that it was fitted on.
    pub positives: usize,
    /// Other outcomes that it was fitted on. Probabilities are for this share of true ones.
    pub negatives: usize,
}

impl Platt {
    /// Fits A and B by the largest likelihood, with Platt's targets (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2) in place of 1 and
    /// 0: so they are finite where the two kinds do not overlap. By Newton's method, Lin, Lin & Weng, *A Note on
    /// Platt's Probabilistic Outputs*, 2007, on scores of mean 0 and deviation 1. Scores that are all equal give A = 0.
    ///
    /// # Errors
    /// When outcomes are not one per score or of one kind only, or a score is not finite.
    pub fn fit(scores: &[f64], outcomes: &[bool]) -> Result<Self> {
        Self::fit_with(scores, outcomes, true)
    }

    /// Fits without smoothing: the targets are 1 and 0, as in logistic regression without a penalty.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when a threshold parts the two kinds: then there is no largest likelihood.
    pub fn fit_unsmoothed(scores: &[f64], outcomes: &[bool]) -> Result<Self> {
        Self::fit_with(scores, outcomes, false)
    }

    fn fit_with(scores: &[f64], outcomes: &[bool], smooth: bool) -> Result<Self> {
        let (positives, negatives) = check_outcomes("Platt scaling", scores, outcomes)?;
        let n = scores.len() as f64;
        // By halves, so that sums of huge scores stay finite.
        let largest = scores.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let mean = scores.iter().map(|s| s / unit).sum::<f64>() / n;
        let deviation = (scores.iter().map(|s| (s / unit - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (p, q) = (positives as f64, negatives as f64);
        let (high, low) = if smooth { ((p + 1.0) / (p + 2.0), 1.0 / (q + 2.0)) } else { (1.0, 0.0) };
        let flat = deviation <= 1e-14 * mean.abs();
        if flat {
            // Only B is left: the mean target.
            let target = (p * high + q * low) / n;
            return Ok(Self { slope: 0.0, intercept: ((1.0 - target) / target).ln(), positives, negatives });
        }
        if !smooth && parted(scores, outcomes) {
            return Err(Error::Input(
                "Platt scaling: a threshold parts the two kinds, so that no slope is steep enough: fit with smoothing"
                    .to_owned(),
            ));
        }
        let points: Vec<(f64, f64)> = scores
            .iter()
            .zip(outcomes)
            .map(|(s, &outcome)| ((s / unit - mean) / deviation, if outcome { high } else { low }))
            .collect();
        let (a, b) = newton(&points, ((q + 1.0) / (p + 1.0)).ln());
        let slope = a / deviation / unit;
        Ok(Self { slope, intercept: b - a * mean / deviation, positives, negatives })
    }

    /// The probability that the outcome is true.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(-(self.slope * score + self.intercept))
    }

    /// Natural log-likelihood ratio: the log-odds of the probability less those of the pairs it was fitted on.
    pub fn log_likelihood_ratio(&self, score: f64) -> f64 {
        -(self.slope * score + self.intercept) - (self.positives as f64 / self.negatives as f64).ln()
    }
}

/// Whether all scores of one kind lie at or above all of the other.
fn parted(scores: &[f64], outcomes: &[bool]) -> bool {
    let range = |kind: bool| {
        let of_kind = scores.iter().zip(outcomes).filter(|(_, outcome)| **outcome == kind).map(|(s, _)| *s);
        of_kind.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(s), high.max(s)))
    };
    let (yes, no) = (range(true), range(false));
    yes.0 >= no.1 || no.0 >= yes.1
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `log(1 + eˣ)` without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// A and B of least cross-entropy `Σ t·log(1 + e^{As+B}) + (1 − t)·log(1 + e^{−As−B})` over points (s, t).
fn newton(points: &[(f64, f64)], start: f64) -> (f64, f64) {
    let loss = |a: f64, b: f64| -> f64 {
        points.iter().map(|&(s, t)| t * softplus(a * s + b) + (1.0 - t) * softplus(-a * s - b)).sum()
    };
    let (mut a, mut b) = (0.0, start);
    let mut value = loss(a, b);
    for _ in 0..200 {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-12, 0.0, 1e-12);
        for &(s, t) in points {
            let p = sigmoid(-(a * s + b));
            let (slope, weight) = (t - p, p * (1.0 - p));
            ga += s * slope;
            gb += slope;
            haa += s * s * weight;
            hab += s * weight;
            hbb += weight;
        }
        let det = haa * hbb - hab * hab;
        let (da, db) = (-(hbb * ga - hab * gb) / det, -(haa * gb - hab * ga) / det);
        let descent = ga * da + gb * db;
        let mut step = 1.0;
        // Newton's step, halved until it goes down: the loss is convex, so this ends at its least value.
        let next = loop {
            let at = loss(a + step * da, b + step * db);
            if at <= value + 1e-4 * step * descent {
                break Some(at);
            }
            step *= 0.5;
            if step < 1e-12 {
                break None;
            }
        };
        let Some(next) = next else { break };
        (a, b) = (a + step * da, b + step * db);
        let gain = value - next;
        value = next;
        if gain <= 1e-15 * value.abs() && step * (da.abs() + db.abs()) <= 1e-12 * (1.0 + a.abs() + b.abs()) {
            break;
        }
    }
    (a, b)
}
