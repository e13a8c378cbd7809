//! The triplets of a row, none of them held singly.
//!
//! A positive at distance `d_ap` makes terms with the negatives in an interval of distances. So few positives each sweep
//! the row once, in vector instructions; many are sorted, and each negative finds by bisection how many reach it, their
//! sum being a difference of prefix sums: `O(m log P)`, and no sort of the negatives.

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number is on the side where it shows")]

use super::{Triplet, TripletMining};
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Row, Terms, vector};
use std::ops::Range;

/// Up to so many positives sweep the row.
const SWEEPS: usize = 24;
/// Lanes of a sweep, and columns between two flushes of them into double precision.
const LANES: usize = 16;
const BLOCK: usize = 256;

/// The negatives that make a triplet with a positive: neither at most `above` nor more than `upto` far. Not a number
/// bounds nothing, and is within all bounds, so that it shows.
#[derive(Clone, Copy)]
pub(super) struct Bounds<T> {
    above: T,
    upto: T,
    /// `d_ap + m`: nearer ones have a hinge above 0.
    pub(super) reach: T,
}

impl<T: Real> Bounds<T> {
    /// Whether a negative at distance `an` is within.
    #[inline(always)]
    pub(super) fn hold(&self, an: T) -> bool {
        !(an <= self.above) & !(an > self.upto)
    }
}

/// What a positive has gathered: sum of terms, triplets, and those with a hinge above 0 (or the sum of slopes).
#[derive(Clone, Copy, Default)]
struct Gathered {
    sum: f64,
    inside: f64,
    pull: f64,
}

impl Triplet {
    /// Of a positive at distance `ap`.
    #[inline(always)]
    pub(super) fn bounds<T: Real>(&self, mining: TripletMining, ap: T) -> Bounds<T> {
        let (none, reach) = (T::nan(), ap + T::of(self.margin));
        let (above, upto) = match mining {
            TripletMining::All | TripletMining::BatchHard => (none, none),
            TripletMining::SemiHard => (ap, reach),
            TripletMining::Hard => (none, if reach < ap { reach } else { ap }),
            TripletMining::Easy => (reach, none),
        };
        Bounds { above, upto, reach }
    }

    /// Furthest positive and nearest negative; the first of equals.
    #[inline(always)]
    pub(super) fn hardest_of<T: Real>(&self, row: &Row<'_, T>) -> Option<(usize, usize)> {
        let sign = T::of(self.sign);
        let further = |a: usize, b: usize| if sign * row.scores[b] > sign * row.scores[a] { b } else { a };
        let positive = row.positives().reduce(further)?;
        row.nearest_negative(self.sign).map(|negative| (positive, negative))
    }

    /// One triplet by itself.
    #[inline(always)]
    fn single<T: Real>(&self, row: &Row<'_, T>, (p, q): (usize, usize), terms: &mut Terms<'_>, gradient: &mut [T]) {
        let sign = T::of(self.sign);
        let (value, slope) = self.term(sign * (row.scores[p] - row.scores[q]) + T::of(self.margin));
        let step = sign * slope * terms.add(0, value);
        gradient[p] += step;
        gradient[q] -= step;
    }

    /// Sweeps negatives: the hinge, counting in `pulls`.
    #[inline(always)]
    fn sweep_hinge<T: Real>(&self, bounds: Bounds<T>, easy: bool, scores: &[T], pulls: &mut [T], all: &mut Gathered) {
        let sign = T::of(self.sign);
        // An easy triplet's hinge is 0.
        let reach = if easy { T::neg_infinity() } else { bounds.reach };
        let one = |s: T| {
            let an = sign * s;
            let inside = bounds.hold(an);
            let active = inside & !(an >= reach);
            let of = |b: bool| if b { T::one() } else { T::zero() };
            (if active { bounds.reach - an } else { T::zero() }, of(inside), of(active))
        };
        for (scores, pulls) in scores.chunks(BLOCK).zip(pulls.chunks_mut(BLOCK)) {
            let (mut sum, mut inside, mut active) = ([T::zero(); LANES], [T::zero(); LANES], [T::zero(); LANES]);
            let mut add = |lane: usize, s: T, g: &mut T| {
                let (value, is_inside, is_active) = one(s);
                sum[lane] += value;
                inside[lane] += is_inside;
                active[lane] += is_active;
                *g -= is_active;
            };
            let (chunks, rest) = (scores.chunks_exact(LANES), scores.len() - scores.len() % LANES);
            for (k, &s) in chunks.remainder().iter().enumerate() {
                add(k, s, &mut pulls[rest + k]);
            }
            for (s, g) in chunks.zip(pulls.chunks_exact_mut(LANES)) {
                for k in 0..LANES {
                    add(k, s[k], &mut g[k]);
                }
            }
            let total = |lanes: [T; LANES]| lanes.into_iter().sum::<T>().wide();
            all.sum += total(sum);
            all.inside += total(inside);
            all.pull += total(active);
        }
    }

    /// Sweeps negatives: the softplus, its slopes into `pulls`.
    #[inline(always)]
    fn sweep_soft<T: Real>(&self, bounds: Bounds<T>, scores: &[T], pulls: &mut [T], all: &mut Gathered) {
        let sign = T::of(self.sign);
        let (mut values, mut slopes, mut inside) = ([T::zero(); BLOCK], [T::zero(); BLOCK], [T::zero(); BLOCK]);
        for (scores, pulls) in scores.chunks(BLOCK).zip(pulls.chunks_mut(BLOCK)) {
            let places = values.iter_mut().zip(&mut slopes).zip(&mut inside);
            for ((((value, slope), inside), &s), g) in places.zip(scores).zip(pulls.iter_mut()) {
                let an = sign * s;
                let (v, by) = vector::softplus(bounds.reach - an);
                let hold = bounds.hold(an);
                *value = if hold { v } else { T::zero() };
                *slope = if hold { by } else { T::zero() };
                *inside = if hold { T::one() } else { T::zero() };
                *g -= *slope;
            }
            all.sum += vector::sum(&values[..scores.len()]);
            all.pull += vector::sum(&slopes[..scores.len()]);
            all.inside += vector::sum(&inside[..scores.len()]);
        }
    }

    /// Many positives, sorted by distance: the hinge.
    fn bisect<T: Real>(
        &self,
        mining: TripletMining,
        row: &Row<'_, T>,
        positives: &mut [(T, usize)],
        pulls: &mut [T],
    ) -> (Gathered, Vec<f64>) {
        positives.sort_unstable_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
        let bounds: Vec<Bounds<T>> = positives.iter().map(|p| self.bounds(mining, p.0)).collect();
        let mut prefix = Vec::with_capacity(bounds.len() + 1);
        prefix.push(0f64);
        bounds.iter().for_each(|b| prefix.push(prefix[prefix.len() - 1] + b.reach.wide()));
        let sign = T::of(self.sign);
        let mut all = Gathered::default();
        // How many negatives pull at each positive: +1 where a range of them begins, −1 where it ends.
        let mut changes = vec![0f64; bounds.len() + 1];
        for j in row.negatives() {
            let an = sign * row.scores[j];
            let first = bounds.partition_point(|b| an > b.upto);
            let end = bounds.partition_point(|b| !(an <= b.above));
            all.inside += end.saturating_sub(first) as f64;
            if mining == TripletMining::Easy {
                // Its hinge is 0; what is not a number shows.
                all.sum += if an.is_nan() { f64::NAN } else { 0.0 };
                continue;
            }
            let active = bounds.partition_point(|b| an >= b.reach).max(first)..end;
            if !active.is_empty() {
                let count = active.len() as f64;
                all.sum += prefix[active.end] - prefix[active.start] - count * an.wide();
                all.pull += count;
                pulls[j] -= T::of(count);
                changes[active.start] += 1.0;
                changes[active.end] -= 1.0;
            }
        }
        let mut pull = 0.0;
        changes.iter_mut().for_each(|change| {
            pull += *change;
            *change = pull;
        });
        (all, changes)
    }

    #[inline(always)]
    fn all_of_row<T: Real>(&self, mining: TripletMining, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let sign = T::of(self.sign);
        let mut positives: Vec<(T, usize)> = row.positives().map(|p| (sign * row.scores[p], p)).collect();
        let ranges: Vec<Range<usize>> = row.negative_ranges().collect();
        let sorted = !self.soft && positives.len() > SWEEPS && positives.iter().all(|p| !p.0.is_nan());
        let (all, pulls) = if sorted {
            self.bisect(mining, row, &mut positives, gradient)
        } else {
            let (mut all, mut pulls) = (Gathered::default(), Vec::with_capacity(positives.len()));
            for &(ap, _) in &positives {
                let (bounds, before) = (self.bounds(mining, ap), all.pull);
                for range in &ranges {
                    let (scores, pulls) = (&row.scores[range.clone()], &mut gradient[range.clone()]);
                    if self.soft {
                        self.sweep_soft(bounds, scores, pulls, &mut all);
                    } else {
                        self.sweep_hinge(bounds, mining == TripletMining::Easy, scores, pulls, &mut all);
                    }
                }
                pulls.push(all.pull - before);
            }
            (all, pulls)
        };
        // All soft terms are above 0.
        let active = if self.soft { all.inside } else { all.pull };
        let step = sign * terms.add_many::<T>(0, active as usize, all.sum);
        terms.add_zeros(0, (all.inside - active) as usize);
        vector::scale(gradient, step);
        positives.iter().zip(pulls).for_each(|(&(_, p), pull)| gradient[p] += step * T::of(pull));
    }
}

impl<T: Real> RowObjective<T> for Triplet {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if let Some(triplets) = row.triplets {
            for &(p, q) in triplets {
                self.single(row, (p as usize, q as usize), terms, gradient);
            }
            return;
        }
        if row.positives.is_empty() || row.count_negatives() == 0 {
            return;
        }
        let mining = if row.listed_negatives().is_some() { TripletMining::All } else { self.mining };
        if mining == TripletMining::BatchHard {
            let Some(triplet) = self.hardest_of(row) else { return };
            if vector::sum(row.scores).is_nan() {
                // An entry that is not a number is never picked, but shows.
                terms.add(0, T::nan());
                gradient.fill(T::nan());
            } else {
                self.single(row, triplet, terms, gradient);
            }
        } else if terms.wants_single_terms() {
            let sign = T::of(self.sign);
            for p in row.positives() {
                let bounds = self.bounds(mining, sign * row.scores[p]);
                for q in row.negatives().filter(|&q| bounds.hold(sign * row.scores[q])) {
                    self.single(row, (p, q), terms, gradient);
                }
            }
        } else {
            self.all_of_row(mining, row, terms, gradient);
        }
    }
}
