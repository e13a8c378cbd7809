//! One pass over all pairs of a set.

use super::binning::{Binning, Row, Tables};
use super::sample::Sample;
use super::tail::{Near, Tail};
use super::{Limits, check_both_kinds, closeness_sign, not_finite, signed};
use crate::{Error, Result};
use dml_core::{Matrix, Metric, for_each_pair_tile, unwatched};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A genuine pair: how close, and its first row, which says of which class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Genuine {
    pub(super) closeness: f32,
    pub(super) first: u32,
}

/// What is kept of all pairs of a set.
#[derive(Debug)]
pub(super) struct AllPairs<N> {
    /// All genuine pairs, closest first.
    pub(super) genuine: Vec<Genuine>,
    /// The closest impostor pairs.
    pub(super) tail: Tail<N>,
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

/// The rows of each class.
struct Classes {
    /// Rows by class, and within a class as they come.
    rows: Vec<u32>,
    /// Where in `rows` a row's class ends, and where the row itself stands.
    places: Vec<(u32, u32)>,
}

impl Classes {
    fn new(labels: &[u32]) -> Self {
        let mut rows: Vec<u32> = (0..labels.len() as u32).collect();
        rows.sort_by_key(|&row| labels[row as usize]);
        let (mut places, mut end) = (vec![(0, 0); labels.len()], 0);
        for class in rows.chunk_by(|&a, &b| labels[a as usize] == labels[b as usize]) {
            let start = end;
            end += class.len() as u32;
            class.iter().zip(start..).for_each(|(&row, at)| places[row as usize] = (end, at));
        }
        Self { rows, places }
    }

    /// Those of `columns` that come after a row and are of its class.
    fn following(&self, row: usize, columns: Range<usize>) -> &[u32] {
        let (end, at) = self.places[row];
        let rest = &self.rows[at as usize + 1..end as usize];
        let before = |bound: usize| rest.partition_point(|&other| (other as usize) < bound);
        &rest[before(columns.start)..before(columns.end)]
    }
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

/// Keeps all genuine pairs and the `tail` closest impostors, and counts the impostors in bins. The result is the same for any
/// number of threads, and whatever the sample says of the place where the tail ends.
pub(super) fn all_pairs<N: Near>(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    sample: &Sample,
    tail: usize,
    limits: &Limits,
) -> Result<AllPairs<N>> {
    let (genuine_pairs, impostors) = kinds(labels);
    check_both_kinds(genuine_pairs, impostors)?;
    if genuine_pairs > limits.genuine_pairs as u64 {
        return Err(Error::Input(format!(
            "there are {genuine_pairs} genuine pairs but at most {} are stored: measure fewer items of each class or raise the limit",
            limits.genuine_pairs
        )));
    }
    let floor = sample.floor(tail, impostors);
    let mut found = one_pass(metric, x, labels, sample.binning, (tail, floor))?;
    if found.tail.len() as u64 == impostors.min(tail as u64) {
        return Ok(found);
    }
    // The sample guessed too high, but now the bin in which the tail ends is known.
    let mut missing = tail as u64;
    let reaching = found.counts.iter().rposition(|&count| {
        missing = missing.saturating_sub(count);
        missing == 0
    });
    let floor = reaching.map_or(f32::NEG_INFINITY, |bin| sample.binning.lower_edge(bin as u32));
    one_pass(metric, x, labels, sample.binning, (tail, floor))
}

/// Of the tail, what is not below a floor.
fn one_pass<N: Near>(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    binning: Binning,
    (tail, floor): (usize, f32),
) -> Result<AllPairs<N>> {
    let (_, impostors) = kinds(labels);
    let classes = Classes::new(labels);
    let sign = closeness_sign(metric);
    let (tables, tail, genuine) = (Tables::new(), Tail::new(tail, floor), Mutex::new(Vec::new()));
    let all_finite = AtomicBool::new(true);
    for_each_pair_tile(metric, x, &unwatched, |tile| {
        let (mut table, mut row, mut same, mut near) =
            (tables.take(), Row::new(), Vec::new(), Vec::with_capacity(tile.scores.len() / 16));
        let (wanted, mut finite) = (tail.wanted(), true);
        tile.for_each_row(|i, columns, scores| {
            let from = columns.start;
            finite &= table.count(binning, (sign, wanted), scores, &mut row, |j, closeness| {
                if labels[from + j] != labels[i] {
                    near.push(N::new(closeness, i, from + j));
                }
            });
            for &second in classes.following(i, columns) {
                let closeness = signed(sign, scores[second as usize - from]);
                table.take_out(binning, closeness);
                same.push(Genuine { closeness, first: i as u32 });
            }
        });
        tables.give_back(table);
        // A list of the very length: it is kept.
        tail.offer(near.to_vec());
        genuine.lock().unwrap_or_else(PoisonError::into_inner).push(same);
        if !finite {
            all_finite.store(false, Relaxed);
        }
    })?;
    if !all_finite.into_inner() {
        return Err(first_not_finite(metric, x)?);
    }
    let mut genuine: Vec<Genuine> = genuine.into_inner().unwrap_or_else(PoisonError::into_inner).concat();
    genuine.par_sort_unstable_by(|a, b| b.closeness.total_cmp(&a.closeness).then(a.first.cmp(&b.first)));
    Ok(AllPairs { genuine, tail, counts: tables.into_counts(), impostors })
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
    use super::super::binning::BINS;
    use super::super::tail::Impostor;
    use super::*;

    #[test]
    fn one_pass_finds_what_plain_loops_find() {
        // Three tiles a side, many ties, classes of all sizes.
        let values: Vec<f32> = (0..600 * 2).map(|i| ((i * i * 31 + i * 7) % 61) as f32).collect();
        let labels: Vec<u32> = (0..600).map(|i| (i * i + i) % 47).collect();
        let x = Matrix::new(&values, 600, 2).unwrap();
        let metric = Metric::SquaredEuclidean;
        let sample = Sample::of(metric, x).unwrap();
        let binning = sample.binning;
        let (mut genuine, mut impostors, mut counts) = (Vec::new(), Vec::new(), vec![0u64; BINS]);
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
        let found = all_pairs::<Impostor>(metric, x, &labels, &sample, 5000, &Limits::default()).unwrap();
        assert!(found.genuine == genuine && found.counts == counts && found.impostors == number);
        assert!(found.tail.into_sorted() == impostors);
        let few = Limits { genuine_pairs: 100, ..Limits::default() };
        let error = all_pairs::<Impostor>(metric, x, &labels, &sample, 5, &few).unwrap_err().to_string();
        assert!(error.contains("at most 100"), "{error}");
    }

    #[test]
    fn a_sample_that_misleads_changes_nothing() {
        // The rows of the sample, each second one, are all alike: all their pairs seem to be close.
        let values: Vec<f32> = (0..1024u32).map(|i| if i % 2 == 0 { 0.0 } else { (i * i % 509) as f32 }).collect();
        let labels: Vec<u32> = (0..1024).map(|i| i % 97).collect();
        let x = Matrix::new(&values, 1024, 1).unwrap();
        let metric = Metric::SquaredEuclidean;
        let sample = Sample::of(metric, x).unwrap();
        let (_, impostors) = kinds(&labels);
        for tail in [200_000, 400_000, impostors as usize, impostors as usize + 1] {
            let found = all_pairs::<Impostor>(metric, x, &labels, &sample, tail, &Limits::default()).unwrap();
            let want = one_pass(metric, x, &labels, sample.binning, (tail, f32::NEG_INFINITY)).unwrap();
            assert!(found.genuine == want.genuine && found.counts == want.counts);
            assert!(found.tail.into_sorted() == want.tail.into_sorted(), "{tail}");
        }
    }
}
