//! One pass over all pairs of a set.

use super::binning::{Binning, Counting, Found, Tables};
use super::tail::{Impostor, Tail};
use super::{Limits, check_both_kinds, closeness_sign, not_finite, signed};
use crate::{Error, Result};
use dml_core::vector::widest;
use dml_core::{Matrix, Metric, for_each_pair_tile, unwatched};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A genuine pair: how close, and its first row, which says of which class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Genuine {
    pub(super) closeness: f32,
    pub(super) first: u32,
}

/// What is kept of all pairs of a set.
#[derive(Debug, PartialEq)]
pub(super) struct AllPairs {
    /// All genuine pairs, closest first.
    pub(super) genuine: Vec<Genuine>,
    /// The closest impostor pairs, closest first.
    pub(super) tail: Vec<Impostor>,
    /// Impostor pairs of each bin.
    pub(super) counts: Vec<u64>,
    /// Impostor pairs.
    pub(super) impostors: u64,
}

/// (genuine, impostor) pairs that labels make.
pub(crate) fn kinds(labels: &[u32]) -> (u64, u64) {
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    labels.iter().for_each(|&label| *sizes.entry(label).or_default() += 1);
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    let genuine = sizes.into_values().map(pairs).sum();
    (genuine, pairs(labels.len() as u64) - genuine)
}

/// Scores of all genuine and of all impostor pairs, as the metric reports them, in no order.
pub(super) fn stored_scores(metric: Metric, x: Matrix<'_>, labels: &[u32]) -> Result<(Vec<f32>, Vec<f32>)> {
    let (genuine, impostors) = kinds(labels);
    check_both_kinds(genuine, impostors)?;
    let all = Mutex::new((Vec::with_capacity(genuine as usize), Vec::with_capacity(impostors as usize)));
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        let (mut same, mut other) = (Vec::new(), Vec::new());
        tile.for_each_row(|i, columns, scores| {
            for (&label, &score) in labels[columns].iter().zip(scores) {
                if label == labels[i] { same.push(score) } else { other.push(score) }
            }
        });
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.0.extend_from_slice(&same);
        all.1.extend_from_slice(&other);
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps all genuine pairs and the `tail` closest impostors, and counts the impostors in bins: beside the products
/// about 3 ns a pair on one core, 6 where every tenth pair is genuine. The result is the same for any number of threads.
pub(super) fn all_pairs(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    binning: Binning,
    tail: usize,
    limits: &Limits,
) -> Result<AllPairs> {
    let (genuine_pairs, impostors) = kinds(labels);
    check_both_kinds(genuine_pairs, impostors)?;
    if genuine_pairs > limits.genuine_pairs as u64 {
        return Err(Error::Input(format!(
            "there are {genuine_pairs} genuine pairs but at most {} are stored: measure fewer items of each class or raise the limit",
            limits.genuine_pairs
        )));
    }
    let sign = closeness_sign(metric);
    let (tables, tail, genuine) = (Tables::new(), Tail::new(tail), Mutex::new(Vec::new()));
    let all_finite = AtomicBool::new(true);
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        let how = Counting { binning, sign, near: tail.wanted() };
        let (mut table, mut same, mut near, mut finite) = (tables.take(), Vec::new(), Vec::new(), true);
        widest(
            #[inline(always)]
            || {
                // Inlined, or it is compiled without the wide vectors.
                tile.for_each_row(
                    #[inline(always)]
                    |i, columns, scores| {
                        let from = columns.start;
                        let mut found = |kind, j, closeness| match kind {
                            Found::Genuine => same.push(Genuine { closeness, first: i as u32 }),
                            Found::Near => {
                                near.push(Impostor { closeness, first: i as u32, second: (from + j) as u32 })
                            }
                        };
                        finite &= table.count(how, labels[i], &labels[columns], scores, &mut found);
                    },
                );
            },
        );
        tables.give_back(table);
        tail.offer(&near);
        genuine.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&same);
        if !finite {
            all_finite.store(false, Relaxed);
        }
    })?;
    if !all_finite.into_inner() {
        return Err(first_not_finite(metric, x)?);
    }
    let mut genuine: Vec<Genuine> = genuine.into_inner().unwrap_or_else(PoisonError::into_inner);
    genuine.par_sort_unstable_by(|a, b| b.closeness.total_cmp(&a.closeness).then(a.first.cmp(&b.first)));
    Ok(AllPairs { genuine, tail: tail.into_pairs(), counts: tables.into_counts(), impostors })
}

/// Names a pair whose score is no number: the first, whatever the threads did.
fn first_not_finite(metric: Metric, x: Matrix<'_>) -> Result<Error> {
    let first = Mutex::new(None);
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        tile.for_each_row(|i, columns, scores| {
            if let Some(j) = scores.iter().position(|s| !s.is_finite()) {
                let (pair, mut first) = ((i, columns.start + j), first.lock().unwrap_or_else(PoisonError::into_inner));
                if first.is_none_or(|(known, _)| pair < known) {
                    *first = Some((pair, scores[j]));
                }
            }
        });
    })?;
    let ((i, j), score) = first.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(((0, 0), f32::NAN));
    Ok(not_finite(&format!("the pair of rows {i} and {j}"), score))
}

/// Closeness of single pairs of rows, each summed in f64.
pub(super) fn closeness_of(metric: Metric, x: Matrix<'_>, pairs: &[(u32, u32)]) -> Vec<f32> {
    let sign = closeness_sign(metric);
    let score = |&(i, j): &(u32, u32)| dml_core::reference::score(metric, x.row(i as usize), x.row(j as usize));
    pairs.par_iter().map(|pair| signed(sign, score(pair) as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_finds_what_plain_loops_find() {
        // Three tiles a side, many ties, classes of all sizes.
        let values: Vec<f32> = (0..600 * 2).map(|i| ((i * i * 31 + i * 7) % 61) as f32).collect();
        let labels: Vec<u32> = (0..600).map(|i| (i * i + i) % 47).collect();
        let x = Matrix::new(&values, 600, 2).unwrap();
        let metric = Metric::SquaredEuclidean;
        let binning = Binning::of_sample(metric, x).unwrap();
        let (mut genuine, mut impostors, mut counts) =
            (Vec::new(), Vec::new(), vec![0u64; super::super::binning::BINS]);
        for first in 0..600u32 {
            for second in first + 1..600 {
                let closeness = closeness_of(metric, x, &[(first, second)])[0];
                if labels[first as usize] == labels[second as usize] {
                    genuine.push(Genuine { closeness, first });
                } else {
                    impostors.push(Impostor { closeness, first, second });
                    counts[binning.bin(closeness) as usize] += 1;
                }
            }
        }
        let number = impostors.len() as u64;
        genuine.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
        impostors.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
        impostors.truncate(5000);
        let want = AllPairs { genuine, tail: impostors, counts, impostors: number };
        assert!(all_pairs(metric, x, &labels, binning, 5000, &Limits::default()).unwrap() == want);
        let few = Limits { genuine_pairs: 100, ..Limits::default() };
        let error = all_pairs(metric, x, &labels, binning, 5, &few).unwrap_err().to_string();
        assert!(error.contains("at most 100"), "{error}");
    }
}
