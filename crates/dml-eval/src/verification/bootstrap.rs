//! Confidence intervals of verification measures, and tests of their differences.

use super::all_pairs::{AllPairs, all_pairs, closeness_of, kinds};
use super::resampling::{Bootstrap, Comparison, Units, VerificationIntervals, differences, intervals};
use super::sample::Sample;
use super::tail::Impostor;
use super::weighted::{Scored, System, WeightedTail};
use super::{Limits, PairList, check_both_kinds, check_far, closeness_sign, not_finite, signed};
use crate::loosest::allowed;
use crate::{Result, check};
use dml_core::{Matrix, Metric};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Pairs of a kind that are held for EER and AUC; of more a sample is drawn.
const SAMPLE: usize = 1 << 20;
/// Closest impostor pairs held at most.
const TAIL: usize = 1 << 22;

/// Intervals of verification over all pairs of `embeddings` (`[n, d]`), by resampling identities (labels).
///
/// Up to 2²⁰ impostor pairs everything is computed from all pairs. Of more, EER, AUC and TAR at large FARs come from a random
/// sample of 2²⁰ genuine and 2²⁰ impostor pairs, and TAR at small FARs from the closest impostor pairs, which a resample
/// weighs exactly. Same seed, same result, for any number of threads.
///
/// # Errors
/// As [`verification`](super::verification), and when there are so few identities that most resamples cannot be measured.
pub fn bootstrap(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    fars: &[f64],
    how: &Bootstrap,
) -> Result<VerificationIntervals> {
    let identities = Identities::new(labels);
    let units = Units(vec![identities.rows.len()]);
    intervals(of_embeddings(metric, embeddings, labels, &identities, fars, how.seed)?, &units, fars, how)
}

/// Two systems, each a metric and embeddings (`[n, d]`) of the same items: differences of their measures, with intervals.
/// Each resample is drawn once for both, so what they share cancels.
///
/// # Errors
/// As [`bootstrap`].
pub fn compare(
    systems: [(Metric, Matrix<'_>); 2],
    labels: &[u32],
    fars: &[f64],
    how: &Bootstrap,
) -> Result<Comparison> {
    let identities = Identities::new(labels);
    let units = Units(vec![identities.rows.len()]);
    let of = |(metric, x)| of_embeddings(metric, x, labels, &identities, fars, how.seed);
    differences([of(systems[0])?, of(systems[1])?], &units, fars, how)
}

/// Intervals of the measures of a list's `scores` (as the metric reports them): by resampling identities where the list knows
/// them, else pairs, genuine and impostor ones apart.
///
/// # Errors
/// When scores are not one per pair or not finite, pairs of a kind are missing, or most resamples cannot be measured.
pub fn bootstrap_pairs(
    metric: Metric,
    scores: &[f32],
    pairs: &PairList,
    fars: &[f64],
    how: &Bootstrap,
) -> Result<VerificationIntervals> {
    let (system, units) = of_pairs(metric, scores, pairs, fars)?;
    intervals(system, &units, fars, how)
}

/// Two systems, each a metric and its scores of the same pairs: differences of their measures, with intervals.
///
/// # Errors
/// As [`bootstrap_pairs`].
pub fn compare_pairs(
    systems: [(Metric, &[f32]); 2],
    pairs: &PairList,
    fars: &[f64],
    how: &Bootstrap,
) -> Result<Comparison> {
    let (first, units) = of_pairs(systems[0].0, systems[0].1, pairs, fars)?;
    let (second, _) = of_pairs(systems[1].0, systems[1].1, pairs, fars)?;
    differences([first, second], &units, fars, how)
}

/// Who owns which rows.
struct Identities {
    /// Identity of each row, numbered from 0.
    of_row: Vec<u32>,
    /// Rows of each identity.
    rows: Vec<Vec<u32>>,
}

impl Identities {
    fn new(labels: &[u32]) -> Self {
        let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        labels.iter().enumerate().for_each(|(i, &label)| rows.entry(label).or_default().push(i as u32));
        let mut of_row = vec![0; labels.len()];
        for (identity, rows) in rows.values().enumerate() {
            rows.iter().for_each(|&row| of_row[row as usize] = identity as u32);
        }
        Self { of_row, rows: rows.into_values().collect() }
    }

    fn scored(&self, closeness: f32, first: u32, second: u32) -> Scored {
        Scored { closeness, a: self.of_row[first as usize], b: self.of_row[second as usize] }
    }

    /// `count` impostor pairs drawn with replacement, all equally likely.
    fn sample(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
        let n = self.of_row.len() as u64;
        // By identity, so that drawn numbers skip those of the first item's own.
        let order: Vec<u32> = self.rows.iter().flatten().copied().collect();
        let (mut begins, mut partners, mut so_far, mut weight) = (Vec::new(), Vec::new(), 0, 0);
        for rows in &self.rows {
            begins.push(so_far);
            so_far += rows.len() as u64;
            weight += rows.len() as u64 * (n - rows.len() as u64);
            partners.push(weight);
        }
        let mut draw = || {
            let number = rng.random_range(0..weight);
            let identity = partners.partition_point(|&up_to| up_to <= number);
            let (begin, size) = (begins[identity], self.rows[identity].len() as u64);
            let first = self.rows[identity][rng.random_range(0..size) as usize];
            let other = rng.random_range(0..n - size);
            let second = order[(if other < begin { other } else { other + size }) as usize];
            (first.min(second), first.max(second))
        };
        (0..count).map(|_| draw()).collect()
    }
}

fn of_embeddings(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    identities: &Identities,
    fars: &[f64],
    seed: u64,
) -> Result<System> {
    check(x, labels)?;
    fars.iter().try_for_each(|&far| check_far(far))?;
    let (genuine, impostors) = kinds(labels);
    check_both_kinds(genuine, impostors)?;
    let all = impostors <= SAMPLE as u64;
    // Resamples weigh some pairs several times: the tail is deeper than the set itself wants it.
    let depth = |far: &f64| 4 * (allowed(*far, impostors) as usize + 1) + 1000;
    let reached = fars.iter().filter(|far| depth(far) <= TAIL).copied().fold(f64::NEG_INFINITY, f64::max);
    let held = match all {
        true => impostors as usize,
        false => {
            if reached.is_finite() {
                depth(&reached)
            } else {
                0
            }
        }
    };
    let sample = Sample::of(metric, x)?;
    let AllPairs { genuine, tail, .. } = all_pairs::<Impostor>(metric, x, labels, &sample, held, &Limits::default())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let share = SAMPLE as f64 / genuine.len() as f64;
    let genuine = genuine.into_iter().filter(|_| share >= 1.0 || rng.random_bool(share));
    let genuine = genuine.map(|pair| identities.scored(pair.closeness, pair.first, pair.first)).collect();
    let tail =
        tail.into_sorted().into_iter().map(|pair| identities.scored(pair.closeness, pair.first, pair.second)).collect();
    if all {
        return Ok(System::new(genuine, tail, None));
    }
    let sample = identities.sample(SAMPLE, &mut rng);
    let closeness = closeness_of(metric, x, &sample);
    if let Some(i) = closeness.iter().position(|c| !c.is_finite()) {
        return Err(not_finite(&format!("the pair of rows {} and {}", sample[i].0, sample[i].1), closeness[i]));
    }
    let sample = closeness.into_iter().zip(sample);
    let sample = sample.map(|(closeness, (first, second))| identities.scored(closeness, first, second)).collect();
    let sizes = identities.rows.iter().map(|rows| rows.len() as u64).collect();
    Ok(System::new(genuine, sample, Some(WeightedTail { pairs: tail, sizes, reaches: reached })))
}

fn of_pairs(metric: Metric, scores: &[f32], pairs: &PairList, fars: &[f64]) -> Result<(System, Units)> {
    pairs.check_scores(scores)?;
    fars.iter().try_for_each(|&far| check_far(far))?;
    let count = pairs.pairs().iter().filter(|pair| pair.same).count();
    check_both_kinds(count as u64, (pairs.pairs().len() - count) as u64)?;
    let units = match pairs.identities() {
        Some(identities) => {
            let known: BTreeMap<u32, u32> = identities.iter().flatten().map(|&name| (name, 0)).collect();
            let known: BTreeMap<u32, u32> = known.into_keys().zip(0..).collect();
            let numbered = identities.iter().map(|pair| pair.map(|name| known.get(&name).copied().unwrap_or(0)));
            (numbered.collect::<Vec<_>>(), Units(vec![known.len()]))
        }
        None => {
            // Each pair is its own unit; genuine ones are numbered first.
            let (mut same, mut other) = (0..count as u32, count as u32..);
            let own = pairs.pairs().iter().map(|pair| if pair.same { same.next() } else { other.next() });
            let own = own.map(|unit| [unit.unwrap_or(0); 2]).collect();
            (own, Units(vec![count, pairs.pairs().len() - count]))
        }
    };
    let (mut genuine, mut impostors) = (Vec::new(), Vec::new());
    for ((pair, &score), &[a, b]) in pairs.pairs().iter().zip(scores).zip(&units.0) {
        let scored = Scored { closeness: signed(closeness_sign(metric), score), a, b };
        if pair.same { genuine.push(scored) } else { impostors.push(scored) }
    }
    Ok((System::new(genuine, impostors, None), units.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impostor_pairs_are_drawn_evenly() {
        // One large class: most pairs of rows are genuine.
        let labels = [7, 7, 3, 7, 7, 7, 9, 7, 3];
        let identities = Identities::new(&labels);
        let drawn = identities.sample(60_000, &mut ChaCha8Rng::seed_from_u64(5));
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        drawn.iter().for_each(|pair| *counts.entry(*pair).or_default() += 1);
        let (_, impostors) = kinds(&labels);
        assert_eq!((counts.len() as u64, impostors), (impostors, 20));
        assert!(counts.keys().all(|&(i, j)| i < j && labels[i as usize] != labels[j as usize]));
        // Mean 3000, deviation 53.
        assert!(counts.values().all(|count| (2750..3250).contains(count)), "{counts:?}");
    }
}
