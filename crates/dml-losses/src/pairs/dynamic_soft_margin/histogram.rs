//! How many violations fall in which bin, and the triplets of a table by it, none of them held singly.

use crate::Result;
use crate::row_loss::TableForm;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Row, vector};
use rayon::prelude::*;
use std::ops::Range;

/// The bins, and what fell in them before.
#[derive(Clone)]
pub(super) struct Histogram {
    pub(super) start: f64,
    pub(super) width: f64,
    pub(super) momentum: f64,
    pub(super) heights: Vec<f64>,
}

/// Violations of a batch by bins; the first place is for those below the first bin.
struct Seen {
    counts: Vec<f64>,
    sums: Vec<f64>,
    /// How many are above 0.
    active: f64,
}

impl Histogram {
    /// The weight of this batch.
    pub(super) fn weight(&self) -> f64 {
        if self.heights.iter().all(|&height| height == 0.0) { 1.0 } else { self.momentum }
    }

    /// What heights are divided by after a batch of so many triplets.
    pub(super) fn total(&self, triplets: f64) -> f64 {
        (1.0 - self.weight()) * self.heights.iter().sum::<f64>() + self.weight() * triplets
    }

    /// Takes a batch in; returns the cumulative heights of the bins, and the derivative of each bin's by its α.
    fn update(&mut self, seen: &Seen) -> (Vec<f64>, f64) {
        let (weight, last) = (self.weight(), self.heights.len() - 1);
        let total = self.total(seen.counts.iter().sum());
        self.heights.iter_mut().for_each(|height| *height *= 1.0 - weight);
        self.heights[0] += weight * seen.counts[0];
        for k in 0..=last {
            let (count, sum) = (seen.counts[k + 1], seen.sums[k + 1]);
            let alpha = if k == last { 0.0 } else { (sum - self.start * count) / self.width - k as f64 * count };
            self.heights[k] += weight * (count - alpha);
            self.heights[(k + 1).min(last)] += weight * alpha;
        }
        self.heights.iter_mut().for_each(|height| *height /= total);
        let cumulative = self.heights.iter().scan(0.0, |sum, height| {
            *sum += height;
            Some(*sum)
        });
        (cumulative.collect(), -weight / total)
    }
}

/// Positives of a row, each with negatives that it makes triplets with.
fn triplets<T: Real>(row: &Row<'_, T>) -> Vec<(usize, Range<usize>)> {
    match row.triplets {
        Some(triplets) => triplets.iter().map(|&(p, q)| (p as usize, q as usize..q as usize + 1)).collect(),
        None => row.positives().flat_map(|p| row.negative_ranges().map(move |range| (p, range))).collect(),
    }
}

/// Negatives gone through together, in lanes.
const BLOCK: usize = 64;
const LANES: usize = 16;

/// Where violations fall.
#[derive(Clone, Copy)]
struct Places<T> {
    start: T,
    scale: T,
    /// Number of bins; 0 is below the first.
    most: T,
}

impl<T: Real> Places<T> {
    /// The place, with its fraction.
    #[inline(always)]
    fn of(self, violation: T) -> T {
        (violation - self.start) * self.scale + T::one()
    }

    /// The place; 0 of what is not a number.
    #[inline(always)]
    fn at(self, violation: T) -> usize {
        let place = self.of(violation);
        let place = if place > self.most { self.most } else { place };
        if place > T::zero() { place.to_usize().unwrap_or(0) } else { 0 }
    }

    /// The least and greatest place of the violations of a positive, by negatives in a block. A block is narrow, so that it
    /// is compared with few edges.
    #[inline(always)]
    fn span(self, ap: T, negatives: &[T]) -> (usize, usize) {
        let (nearest, furthest) = (vector::smallest(negatives), vector::largest(negatives));
        (self.at(ap - furthest), self.at(ap - nearest))
    }

    /// Counts a block.
    #[inline(always)]
    fn count(self, ap: T, negatives: &[T], seen: &mut Seen) {
        let (least, greatest) = self.span(ap, negatives);
        // Of those at or beyond an edge: how many, and their sum.
        let beyond = |edge: T| {
            let (mut count, mut sum) = ([T::zero(); LANES], [T::zero(); LANES]);
            for chunk in negatives.chunks(LANES) {
                for ((count, sum), &an) in count.iter_mut().zip(&mut sum).zip(chunk) {
                    let violation = ap - an;
                    let is_beyond = self.of(violation) >= edge;
                    *count += if is_beyond { T::one() } else { T::zero() };
                    *sum += if is_beyond { violation } else { T::zero() };
                }
            }
            let total = |lanes: [T; LANES]| lanes.into_iter().sum::<T>().wide();
            (total(count), total(sum))
        };
        // What is not a number is in the sum of all, and so in that of the least place.
        let all = vector::sum_of(negatives, |an| ap - an);
        let mut rest = (negatives.len() as f64, all);
        for place in least + 1..=greatest {
            let next = beyond(T::of(place as f64));
            seen.counts[place - 1] += rest.0 - next.0;
            seen.sums[place - 1] += rest.1 - next.1;
            rest = next;
        }
        seen.counts[greatest] += rest.0;
        seen.sums[greatest] += rest.1;
        seen.active += vector::sum_of(negatives, |an| if ap > an { T::one() } else { T::zero() });
    }

    /// Subtracts the slope of each violation's place from `gradient`; returns their sum.
    #[inline(always)]
    fn pull(self, ap: T, negatives: &[T], slopes: &[T], gradient: &mut [T]) -> f64 {
        let (least, greatest) = self.span(ap, negatives);
        let mut steps = [slopes[least]; BLOCK];
        for (place, &slope) in slopes.iter().enumerate().take(greatest + 1).skip(least + 1) {
            let edge = T::of(place as f64);
            for (step, &an) in steps.iter_mut().zip(negatives) {
                *step = if self.of(ap - an) >= edge { slope } else { *step };
            }
        }
        gradient.iter_mut().zip(&steps).for_each(|(g, &step)| *g -= step);
        vector::sum(&steps[..negatives.len()])
    }
}

impl Histogram {
    fn places<T: Real>(&self) -> Places<T> {
        let (start, scale) = (T::of(self.start), T::of(1.0 / self.width));
        Places { start, scale, most: T::of(self.heights.len() as f64) }
    }

    /// Violations of a row by bins.
    #[inline(always)]
    fn seen<T: Real>(&self, row: &Row<'_, T>) -> Seen {
        let mut seen = self.nothing_seen();
        for (p, range) in triplets(row) {
            for negatives in row.scores[range].chunks(BLOCK) {
                self.places().count(row.scores[p], negatives, &mut seen);
            }
        }
        seen
    }

    fn nothing_seen(&self) -> Seen {
        let places = self.heights.len() + 1;
        Seen { counts: vec![0.0; places], sums: vec![0.0; places], active: 0.0 }
    }

    /// The slopes of a row's violations, by their places, as a gradient.
    #[inline(always)]
    fn pull<T: Real>(&self, row: &Row<'_, T>, slopes: &[T], gradient: &mut [T]) {
        for (p, range) in triplets(row) {
            let mut pull = 0.0;
            for (negatives, g) in row.scores[range.clone()].chunks(BLOCK).zip(gradient[range].chunks_mut(BLOCK)) {
                pull += self.places().pull(row.scores[p], negatives, slopes, g);
            }
            gradient[p] += T::of(pull);
        }
    }
}

/// The loss of a table; it tells the histogram after it.
impl TableForm for Histogram {
    type Seen = (Statistics, Histogram);

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Self::Seen)> {
        let mut histogram = self.clone();
        let bins = histogram.heights.len();
        let of_row = |a: usize| {
            table.with_row(
                a,
                #[inline(always)]
                |row| self.seen(row),
            )
        };
        let of_rows: Vec<Seen> = (0..table.n).into_par_iter().map(of_row).collect();
        let mut seen = self.nothing_seen();
        for row in &of_rows {
            seen.counts.iter_mut().zip(&row.counts).for_each(|(all, one)| *all += one);
            seen.sums.iter_mut().zip(&row.sums).for_each(|(all, one)| *all += one);
            seen.active += row.active;
        }
        let triplets: f64 = seen.counts.iter().sum();
        let statistics = Statistics { terms: [triplets, 0.0], active: [seen.active, 0.0], ..table.pairs() };
        if triplets == 0.0 {
            return Ok((0.0, (statistics, histogram)));
        }
        if seen.sums.iter().sum::<f64>().is_nan() {
            // The histogram is not to be spoilt for ever.
            gradient.fill(T::nan());
            return Ok((f64::NAN, (statistics, histogram)));
        }
        let (cumulative, by_alpha) = histogram.update(&seen);
        let value: f64 = cumulative[0] * seen.sums[0]
            + cumulative.iter().zip(&seen.sums[1..]).map(|(weight, sum)| weight * sum).sum::<f64>();
        // What is below the first bin is weighted by it.
        let weighted = |k: usize| if k == 1 { seen.sums[0] + seen.sums[1] } else { seen.sums[k] };
        let slope = |k: usize| {
            let through_alpha = if k == 0 || k == bins { 0.0 } else { by_alpha * weighted(k) / histogram.width };
            T::of((cumulative[k.saturating_sub(1)] + through_alpha) / triplets)
        };
        let slopes: Vec<T> = (0..=bins).map(slope).collect();
        gradient.par_chunks_mut(table.m).enumerate().for_each(|(a, gradient)| {
            table.with_row(
                a,
                #[inline(always)]
                |row| self.pull(row, &slopes, gradient),
            );
        });
        Ok((value / triplets, (statistics, histogram)))
    }
}
