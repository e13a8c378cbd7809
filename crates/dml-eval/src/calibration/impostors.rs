//! Order statistics of all impostor scores of a set, exactly, without storing one.
//!
//! A score is a 32-bit key. One walk over all pairs counts the upper halves of the keys, a second the lower halves of
//! those that share the upper half that is looked for.

use crate::loosest::allowed;
use crate::verification::kinds;
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, PairTile, for_each_pair_tile, unwatched};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Values of half a key.
const HALF: usize = 1 << 16;

/// The loosest threshold that keeps a false match rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Loosest {
    /// Larger is closer.
    pub(super) closeness: f32,
    /// Impostor pairs that reach it.
    pub(super) passed: u64,
}

/// The loosest threshold for each of `rates`, and the number of impostor pairs.
///
/// # Errors
/// When there are no impostor pairs, or a score is not finite.
pub(super) fn loosest_for(metric: Metric, x: Matrix<'_>, labels: &[u32], rates: &[f64]) -> Result<(Vec<Loosest>, u64)> {
    check(x, labels)?;
    let (_, impostors) = kinds(labels);
    if impostors == 0 {
        return Err(Error::Input(
            "calibration: all labels are equal: a false match wants two classes or more".to_owned(),
        ));
    }
    let upper = count(metric, x, labels, 1, |key| Some((0, (key >> 16) as usize)))?;
    // For each rate: the upper half of the first key that may not pass, and how many of that half may.
    let places: Vec<(usize, u64)> = rates.iter().map(|&rate| descend(&upper[0], allowed(rate, impostors))).collect();
    let mut halves: Vec<usize> = places.iter().map(|place| place.0).collect();
    halves.sort_unstable();
    halves.dedup();
    let lower = count(metric, x, labels, halves.len(), |key| {
        let table = halves.binary_search(&((key >> 16) as usize)).ok()?;
        Some((table, (key & 0xffff) as usize))
    })?;
    let found = places.into_iter().map(|(half, may_pass)| {
        let table = &lower[halves.binary_search(&half).unwrap_or(0)];
        let (rest, left) = descend(table, may_pass);
        let above: u64 = upper[0][half + 1..].iter().sum();
        // Those that share the key that may not pass do not pass either.
        Loosest { closeness: score(((half << 16) | rest) as u32).next_up(), passed: above + may_pass - left }
    });
    Ok((found.collect(), impostors))
}

/// The entry, from the top, where the count goes beyond `skip`, and what of `skip` is left there.
fn descend(counts: &[u64], mut skip: u64) -> (usize, u64) {
    for (entry, &count) in counts.iter().enumerate().rev() {
        if count > skip {
            return (entry, skip);
        }
        skip -= count;
    }
    (0, skip)
}

/// Counts impostor pairs in `tables` tables by what `entry` makes of their keys.
fn count(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    tables: usize,
    entry: impl Fn(u32) -> Option<(usize, usize)> + Sync,
) -> Result<Vec<Vec<u64>>> {
    let sign = -metric.sign() as f32;
    let bad = AtomicBool::new(false);
    // One per thread, so that none waits; counts add up to the same whoever counted.
    let slots: Vec<Mutex<Vec<u64>>> = (0..rayon::current_num_threads().max(1)).map(|_| Mutex::default()).collect();
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        let slot = rayon::current_thread_index().unwrap_or(0) % slots.len();
        let mut counts = slots[slot].lock().unwrap_or_else(PoisonError::into_inner);
        counts.resize(tables * HALF, 0);
        for_each_pair(tile, |i, j, score| {
            if labels[i] != labels[j] {
                if !score.is_finite() {
                    bad.store(true, Ordering::Relaxed);
                }
                if let Some((table, at)) = entry(key(sign * score)) {
                    counts[table * HALF + at] += 1;
                }
            }
        });
    })?;
    if bad.into_inner() {
        return Err(Error::Input(
            "calibration: a score is not finite: embeddings are too large for this metric".to_owned(),
        ));
    }
    let mut sums = vec![vec![0u64; HALF]; tables];
    for slot in slots {
        let counts = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        sums.iter_mut().zip(counts.chunks_exact(HALF)).for_each(|(sum, part)| {
            sum.iter_mut().zip(part).for_each(|(s, c)| *s += c);
        });
    }
    Ok(sums)
}

/// Calls `f(i, j, score)` for each pair i < j of a tile.
pub(super) fn for_each_pair(tile: &PairTile<'_>, mut f: impl FnMut(usize, usize, f32)) {
    tile.for_each_row(|i, columns, scores| columns.zip(scores).for_each(|(j, &score)| f(i, j, score)));
}

/// How many genuine and impostor pairs reach each of the thresholds.
pub(super) fn passing(metric: Metric, x: Matrix<'_>, labels: &[u32], thresholds: &[f32]) -> Result<Vec<(u64, u64)>> {
    check(x, labels)?;
    let counts: Vec<[AtomicU64; 2]> = thresholds.iter().map(|_| Default::default()).collect();
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        let mut found = vec![[0u64; 2]; thresholds.len()];
        for_each_pair(tile, |a, b, score| {
            let kind = usize::from(labels[a] != labels[b]);
            for (count, &threshold) in found.iter_mut().zip(thresholds) {
                let passes = if metric.is_similarity() { score >= threshold } else { score <= threshold };
                count[kind] += u64::from(passes);
            }
        });
        for (count, found) in counts.iter().zip(found) {
            count.iter().zip(found).for_each(|(all, here)| {
                all.fetch_add(here, Ordering::Relaxed);
            });
        }
    })?;
    Ok(counts.into_iter().map(|[genuine, impostors]| (genuine.into_inner(), impostors.into_inner())).collect())
}

/// A number whose order is the order of the scores.
fn key(score: f32) -> u32 {
    // −0 becomes 0.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of a key.
fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order() {
        let scores = [f32::MIN, -2.5, -1e-30, 0.0, 1e-40, 0.3, 0.30000004, 7.0, f32::MAX];
        assert!(scores.windows(2).all(|w| key(w[0]) < key(w[1])));
        assert!(scores.iter().all(|&s| score(key(s)) == s));
        assert_eq!(key(-0.0), key(0.0));
    }
}
