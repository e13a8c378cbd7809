//! How far probabilities are from what happens.

use super::outcomes::check_outcomes;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How probabilities are put into bins. A bin holds what is above its lower edge, up to its upper one; the first holds
/// its lower edge, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// So many bins of equal width over 0..1.
    EqualWidth(usize),
    /// So many bins of about equally many probabilities: their edges are quantiles, linear between values as numpy's
    /// default. Equal probabilities are not parted, so bins may hold more or nothing.
    EqualMass(usize),
}

/// 15 bins of equal width, as Guo et al. 2017.
impl Default for Binning {
    fn default() -> Self {
        Self::EqualWidth(15)
    }
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Probabilities in it.
    pub count: usize,
    /// Their mean.
    pub probability: f64,
    /// Share of them that came true.
    pub share: f64,
}

/// How far probabilities are from what happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// How the bins were made.
    pub binning: Binning,
    /// Expected calibration error: Σ over bins of count/n · |share − probability|. It depends on the bins. Guo et al.,
    /// *On Calibration of Modern Neural Networks*, 2017, eq. 3, for the probability of the outcome "true".
    pub ece: f64,
    /// Maximum calibration error: the largest |share − probability| of a bin.
    pub mce: f64,
    /// Brier score: mean of (probability − outcome)². Brier, 1950.
    pub brier: f64,
    /// Mean of −ln of the probability given to what happened, with probabilities at least 2.2e-16 away from 0 and 1, as
    /// scikit-learn's.
    pub log_loss: f64,
    /// Probabilities.
    pub count: usize,
    /// How many outcomes are true.
    pub positives: usize,
    /// The reliability diagram: bins that hold anything.
    pub bins: Vec<ReliabilityBin>,
}

/// Measures how far `probabilities` of being true are from the `outcomes`.
///
/// # Errors
/// When outcomes are not one per probability or of one kind only, a probability is not within 0..=1, or there
/// are no bins.
pub fn reliability(probabilities: &[f64], outcomes: &[bool], binning: Binning) -> Result<Reliability> {
    let (positives, _) = check_outcomes("reliability", probabilities, outcomes)?;
    if let Some(i) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::Input(format!(
            "reliability: probability {i} is {}: want 0 to 1, calibrate scores first",
            probabilities[i]
        )));
    }
    let edges = edges(probabilities, binning)?;
    let n = probabilities.len();
    let mut sums = vec![(0usize, 0.0, 0usize); edges.len() - 1];
    let inner = &edges[1..edges.len() - 1];
    for (&p, &outcome) in probabilities.iter().zip(outcomes) {
        let bin = &mut sums[inner.partition_point(|&edge| edge < p)];
        *bin = (bin.0 + 1, bin.1 + p, bin.2 + usize::from(outcome));
    }
    let bins: Vec<ReliabilityBin> = sums
        .iter()
        .zip(edges.windows(2))
        .filter(|(sum, _)| sum.0 > 0)
        .map(|(&(count, sum, positives), edge)| {
            let (probability, share) = (sum / count as f64, positives as f64 / count as f64);
            ReliabilityBin { low: edge[0], high: edge[1], count, probability, share }
        })
        .collect();
    let gap = |bin: &ReliabilityBin| (bin.share - bin.probability).abs();
    let mean = |of: &dyn Fn(f64, bool) -> f64| {
        probabilities.iter().zip(outcomes).map(|(&p, &outcome)| of(p, outcome)).sum::<f64>() / n as f64
    };
    Ok(Reliability {
        binning,
        ece: bins.iter().map(|bin| gap(bin) * bin.count as f64).sum::<f64>() / n as f64,
        mce: bins.iter().map(gap).fold(0.0, f64::max),
        brier: mean(&|p, outcome| (p - f64::from(u8::from(outcome))).powi(2)),
        log_loss: mean(&|p, outcome| {
            let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            -(if outcome { p } else { 1.0 - p }).ln()
        }),
        count: n,
        positives,
        bins,
    })
}

fn edges(probabilities: &[f64], binning: Binning) -> Result<Vec<f64>> {
    /// More would be empty but for one value each.
    const MOST: usize = 1 << 20;
    let (Binning::EqualWidth(bins) | Binning::EqualMass(bins)) = binning;
    if bins == 0 || bins > MOST {
        return Err(Error::Input(format!("reliability: {bins} bins were asked for: want 1 to {MOST}")));
    }
    let share = |i: usize| i as f64 / bins as f64;
    if let Binning::EqualWidth(_) = binning {
        return Ok((0..=bins).map(share).collect());
    }
    let mut sorted = probabilities.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let quantile = |i: usize| {
        let place = share(i) * last as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[(place.ceil() as usize).min(last)]);
        below + (above - below) * place.fract()
    };
    Ok((0..=bins).map(quantile).collect())
}
