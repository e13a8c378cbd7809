//! Cllr: the cost of log-likelihood ratios, whatever the share of genuine pairs.
//!
//! Brümmer & du Preez, *Application-independent evaluation of speaker detection*, 2006.

use super::isotonic::{grouped, pool_adjacent_violators};
use super::outcomes::check_outcomes;
use super::platt::softplus;
use crate::{Error, Result};

/// `Cllr = ½ [mean over genuine of log₂(1 + e^{−l}) + mean over impostors of log₂(1 + e^{l})]`, in bits, of natural
/// log-likelihood ratios l; 0 is perfect, 1 is what l = 0 for everything gives, more is worse than saying nothing.
///
/// # Errors
/// When outcomes are not one per ratio or of one kind only, or a ratio is not finite.
pub fn cllr(log_likelihood_ratios: &[f64], outcomes: &[bool]) -> Result<f64> {
    let (genuine, impostors) = check_outcomes("Cllr", log_likelihood_ratios, outcomes)?;
    let cost = |kind: bool| -> f64 {
        let of_kind = log_likelihood_ratios.iter().zip(outcomes).filter(|(_, outcome)| **outcome == kind);
        of_kind.map(|(&l, _)| softplus(if kind { -l } else { l })).sum()
    };
    Ok(0.5 * (cost(true) / genuine as f64 + cost(false) / impostors as f64) / std::f64::consts::LN_2)
}

/// The least Cllr that any rising function of the `scores` can have, by pool-adjacent-violators: what the scores' order
/// is worth. Cllr less this is what is lost by calibration. Equal scores get one ratio.
///
/// # Errors
/// As [`cllr`].
pub fn min_cllr(scores: &[f64], outcomes: &[bool]) -> Result<f64> {
    let (genuine, impostors) = check_outcomes("minimum Cllr", scores, outcomes)?;
    let groups = grouped(scores, outcomes);
    let shares: Vec<f64> = groups.iter().map(|g| g.positives as f64 / g.count as f64).collect();
    let weights: Vec<f64> = groups.iter().map(|g| g.count as f64).collect();
    let fitted = pool_adjacent_violators(&shares, &weights)?;
    let prior = (genuine as f64 / impostors as f64).ln();
    let (mut of_genuine, mut of_impostors) = (0.0, 0.0);
    for (group, p) in groups.iter().zip(fitted) {
        // Where p is 0 or 1 the ratio is infinite, and there is none of the kind that it would cost.
        let l = (p / (1.0 - p)).ln() - prior;
        if group.positives > 0 {
            of_genuine += group.positives as f64 * softplus(-l);
        }
        if group.count > group.positives {
            of_impostors += (group.count - group.positives) as f64 * softplus(l);
        }
    }
    Ok(0.5 * (of_genuine / genuine as f64 + of_impostors / impostors as f64) / std::f64::consts::LN_2)
}

/// The natural log-likelihood ratio of a probability that holds where a share of `prior` is genuine:
/// `ln(p/(1 − p)) − ln(π/(1 − π))`. Infinite at 0 and 1.
///
/// # Errors
/// When the probability is not within 0..=1 or the prior is 0, 1 or beyond.
pub fn log_likelihood_ratio(probability: f64, prior: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&probability) || prior <= 0.0 || prior >= 1.0 || prior.is_nan() {
        return Err(Error::Input(format!(
            "log-likelihood ratio of probability {probability} at prior {prior}: want a probability of 0 to 1 and a prior between"
        )));
    }
    Ok((probability / (1.0 - probability)).ln() - (prior / (1.0 - prior)).ln())
}
