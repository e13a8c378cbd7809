//! Bootstrap: how far a measure moves when other identities had been met.
//!
//! Pairs of one person are not independent, so identities are drawn with replacement, not pairs. An identity drawn w times
//! gives each of its genuine pairs weight w, and each impostor pair the product of its two weights; a person is never paired
//! with a copy of itself. Bolle et al., *Error analysis of pattern recognition systems: the subsets bootstrap*, 2004, for why
//! pairs must move together.

use super::weighted::System;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples. Default 1000.
    pub resamples: usize,
    /// Share of resamples within the interval. Default 0.95.
    pub level: f64,
    /// Seed of the draws. Default 0.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0 }
    }
}

/// A number and its percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Of the set itself.
    pub estimate: f64,
    /// Quantile (1 − level)/2 of the resamples.
    pub low: f64,
    /// Quantile (1 + level)/2 of the resamples.
    pub high: f64,
}

/// Verification measures with their intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationIntervals {
    /// Equal error rate.
    pub eer: Interval,
    /// Area under the ROC curve.
    pub auc: Interval,
    /// (FAR, TAR there).
    pub tar_at_far: Vec<(f64, Interval)>,
    /// Resamples in the intervals; those without genuine or without impostor pairs are left out.
    pub resamples: usize,
    /// What was drawn: identities, or pairs where identities are not known.
    pub drawn: usize,
}

/// A measure of two systems, and its difference second − first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Of the first system.
    pub first: f64,
    /// Of the second system.
    pub second: f64,
    /// second − first, both on the same resamples.
    pub difference: Interval,
    /// Two-sided: twice the smaller of the shares of resamples with a difference ≤ 0 and ≥ 0, `(1 + count) / (1 + resamples)`
    /// each, at most 1.
    pub p: f64,
}

/// Two systems on the same pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Equal error rate.
    pub eer: Difference,
    /// Area under the ROC curve.
    pub auc: Difference,
    /// (FAR, TAR there).
    pub tar_at_far: Vec<(f64, Difference)>,
    /// Resamples in the intervals.
    pub resamples: usize,
    /// What was drawn: identities, or pairs where identities are not known.
    pub drawn: usize,
}

/// What is drawn with replacement: so many of each kind, numbered through.
pub(super) struct Units(pub(super) Vec<usize>);

impl Units {
    fn count(&self) -> usize {
        self.0.iter().sum()
    }

    /// How often each is drawn in a resample.
    fn draw(&self, seed: u64, resample: u64) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(resample);
        let mut weights = vec![0; self.count()];
        let mut rest = &mut weights[..];
        for &kind in &self.0 {
            let (these, others) = rest.split_at_mut(kind);
            (0..kind).for_each(|_| these[rng.random_range(0..kind)] += 1);
            rest = others;
        }
        weights
    }
}

/// Measures of each system on the set itself, and on each resample: `[EER, AUC, TAR…]`.
struct Resampled {
    whole: Vec<Vec<f64>>,
    resamples: Vec<Vec<Vec<f64>>>,
}

fn resampled(systems: &[System], units: &Units, fars: &[f64], how: &Bootstrap) -> Result<Resampled> {
    if how.resamples == 0 || !(how.level > 0.0 && how.level < 1.0) {
        let Bootstrap { resamples, level, .. } = how;
        return Err(Error::Input(format!(
            "{resamples} resamples at level {level}: want 1 or more, and a level between 0 and 1"
        )));
    }
    let on = |weights: &[u32]| systems.iter().map(|s| s.measures(weights, fars)).collect::<Option<Vec<_>>>();
    let too_few =
        || Error::Input("most resamples lack genuine or impostor pairs: there are too few identities".to_owned());
    let whole = on(&vec![1; units.count()]).ok_or_else(too_few)?;
    // Stream 0 is for other draws.
    let draws = (1..=how.resamples as u64).into_par_iter();
    let all: Vec<Option<Vec<Vec<f64>>>> = draws.map(|r| on(&units.draw(how.seed, r))).collect();
    let resamples: Vec<Vec<Vec<f64>>> = all.into_iter().flatten().collect();
    if 2 * resamples.len() < how.resamples {
        return Err(too_few());
    }
    Ok(Resampled { whole, resamples })
}

/// Intervals of one system.
pub(super) fn intervals(system: System, units: &Units, fars: &[f64], how: &Bootstrap) -> Result<VerificationIntervals> {
    let found = resampled(&[system], units, fars, how)?;
    let of = |m: usize| interval(found.whole[0][m], found.resamples.iter().map(|r| r[0][m]).collect(), how.level);
    Ok(VerificationIntervals {
        eer: of(0),
        auc: of(1),
        tar_at_far: fars.iter().enumerate().map(|(i, &far)| (far, of(2 + i))).collect(),
        resamples: found.resamples.len(),
        drawn: units.count(),
    })
}

/// Differences of two systems, each resample drawn once for both.
pub(super) fn differences(systems: [System; 2], units: &Units, fars: &[f64], how: &Bootstrap) -> Result<Comparison> {
    let found = resampled(&systems, units, fars, how)?;
    let of = |m: usize| {
        let (first, second) = (found.whole[0][m], found.whole[1][m]);
        let moved: Vec<f64> = found.resamples.iter().map(|r| r[1][m] - r[0][m]).collect();
        let share = |other: &dyn Fn(f64) -> bool| {
            (1 + moved.iter().filter(|&&d| other(d)).count()) as f64 / (1 + moved.len()) as f64
        };
        let p = (2.0 * share(&|d| d <= 0.0).min(share(&|d| d >= 0.0))).min(1.0);
        Difference { first, second, difference: interval(second - first, moved, how.level), p }
    };
    Ok(Comparison {
        eer: of(0),
        auc: of(1),
        tar_at_far: fars.iter().enumerate().map(|(i, &far)| (far, of(2 + i))).collect(),
        resamples: found.resamples.len(),
        drawn: units.count(),
    })
}

/// Percentile interval, quantiles interpolated linearly between order statistics.
fn interval(estimate: f64, mut values: Vec<f64>, level: f64) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (place - place.floor()) * (above - below)
    };
    Interval { estimate, low: quantile(0.5 - 0.5 * level), high: quantile(0.5 + 0.5 * level) }
}
