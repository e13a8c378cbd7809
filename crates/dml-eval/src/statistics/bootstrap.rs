//! Uncertainty by drawing again: intervals and a paired test, clustered.
//!
//! Queries of one class succeed and fail together, so n queries of c classes say less than n independent ones. Whole
//! classes are drawn again, with replacement, each with all its queries.
//! Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13 (percentile interval) and 16 (test);
//! Field & Welsh, *Bootstrapping Clustered Data*, 2007 (clusters).

use super::Interval;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often to draw again, and from which seed: the same seed gives the same result for any number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Draws; 0 switches the bootstrap off.
    pub resamples: usize,
    /// Seed.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1000 draws of seed 0.
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

/// Whether two runs differ on the same queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Mean of the first less mean of the second.
    pub difference: f64,
    /// 95 % percentile interval of the difference.
    pub interval: Interval,
    /// Two-sided: share of draws whose difference lies as far from the observed one as that lies from 0. Never below
    /// `1/(resamples + 1)`.
    pub p_value: f64,
    /// Classes drawn from.
    pub clusters: usize,
}

impl Bootstrap {
    /// 95 % percentile intervals of statistics of clusters. `statistics` gets the clusters of one draw, `clusters` of them
    /// out of `0..clusters` with repetition, and returns one number per statistic; a number that is not finite leaves its
    /// draw out. A statistic has `None` when there are fewer than two clusters or draws to go by.
    pub fn intervals(&self, clusters: usize, statistics: impl Fn(&[u32]) -> Vec<f64> + Sync) -> Vec<Option<Interval>> {
        let drawn = self.draws(clusters, &statistics);
        let of_one = |s: usize| interval(drawn.iter().filter_map(|draw| draw.get(s).copied()).collect());
        let all: Vec<u32> = (0..clusters as u32).collect();
        let found = drawn.first().map_or_else(|| statistics(&all).len(), Vec::len);
        (0..found).map(of_one).collect()
    }

    /// Compares two runs by their values on the same queries, `clusters[q]` being what query q is drawn with (its class).
    ///
    /// # Errors
    /// When the three differ in length, a value is not finite, there are fewer than two clusters, or `resamples` is 0.
    pub fn paired(&self, first: &[f64], second: &[f64], clusters: &[u32]) -> Result<PairedTest> {
        if first.len() != second.len() || first.len() != clusters.len() {
            return Err(Error::Input(format!(
                "{} values, {} values and {} classes: a paired test wants the same queries in both runs",
                first.len(),
                second.len(),
                clusters.len()
            )));
        }
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        if let Some(q) = differences.iter().position(|d| !d.is_finite()) {
            return Err(Error::Input(format!(
                "the values of query {q} are {} and {}: want numbers",
                first[q], second[q]
            )));
        }
        let sums = cluster_sums(&differences, clusters);
        let count = sums.len();
        if count < 2 || self.resamples == 0 {
            return Err(Error::Input(format!(
                "a paired test of {count} classes by {} resamples: want two classes and one resample at least",
                self.resamples
            )));
        }
        let difference = super::mean(&differences);
        let drawn = self.draws(count, &|draw: &[u32]| vec![ratio(&sums, draw)]);
        let drawn: Vec<f64> = drawn.into_iter().flatten().collect();
        // Sums in another order differ by rounding: what is equal must count as equal.
        let rounding = 1e-12 * difference.abs();
        let as_far = drawn.iter().filter(|d| (*d - difference).abs() >= difference.abs() - rounding).count();
        let p_value = (as_far + 1) as f64 / (drawn.len() + 1) as f64;
        let interval = interval(drawn).unwrap_or(Interval { low: difference, high: difference });
        Ok(PairedTest { difference, interval, p_value, clusters: count })
    }

    /// The statistics of each draw, in order. Each draw has its own stream of random numbers.
    fn draws(&self, clusters: usize, statistics: &(impl Fn(&[u32]) -> Vec<f64> + Sync)) -> Vec<Vec<f64>> {
        let Some(last) = u32::try_from(clusters).ok().filter(|&n| n >= 2).map(|n| n - 1) else { return Vec::new() };
        let one = |draw: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(draw as u64);
            let drawn: Vec<u32> = (0..clusters).map(|_| rng.random_range(0..=last)).collect();
            statistics(&drawn)
        };
        (0..self.resamples).into_par_iter().map(one).collect()
    }
}

/// Sum and number of the values of each cluster, in order of the clusters' ids.
pub(crate) fn cluster_sums(values: &[f64], clusters: &[u32]) -> Vec<(f64, usize)> {
    let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        let (sum, count) = sums.entry(*cluster).or_default();
        *sum += value;
        *count += 1;
    }
    sums.into_values().collect()
}

/// Mean of all values of the drawn clusters.
pub(crate) fn ratio(sums: &[(f64, usize)], drawn: &[u32]) -> f64 {
    let (sum, count) = drawn.iter().map(|&c| sums[c as usize]).fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    sum / count as f64
}

/// From the 2.5th to the 97.5th percentile.
fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.retain(|v| v.is_finite());
    if values.len() < 2 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    Some(Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) })
}

/// Quantile of sorted values, linearly between the two next to it (numpy's default, Hyndman & Fan's type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8, 16], [0.025, 0.5, 0.975]) = [1.1, 4, 15.2]
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (share, want) in [(0.025, 1.1), (0.5, 4.0), (0.975, 15.2)] {
            assert!((quantile(&sorted, share) - want).abs() < 1e-12);
        }
    }
}
