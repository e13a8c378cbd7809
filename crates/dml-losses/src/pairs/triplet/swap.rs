//! Triplets in which the positive may stand in for the anchor: terms that tie a row to those of its positives.

use super::rows::Bounds;
use super::{Triplet, TripletMining};
use crate::row_loss::{RowLoss, Sides, composed, wide};
use crate::tabular::{Counting, fused_counting};
use crate::{Batch, Evaluation, Objective, Result};
use dml_core::relevance::Sets;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Reduction, over, vector};
use rayon::prelude::*;
use std::ops::Range;

/// The loss of a batch with itself is fused; with references, tuples or an unusual reduction it is composed.
pub(super) struct SwapLoss(pub(super) RowLoss<Triplet>);

impl Objective for SwapLoss {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let RowLoss { row, setting } = &self.0;
        let (relevance, sides, reduction) = (batch.named(true)?, Sides::of(batch), &setting.reduction);
        let plain = batch.references.is_none() && batch.tuples.is_none();
        if plain
            && sides.fused(setting.kernel)
            && matches!(reduction, Reduction::MeanNonZero | Reduction::Mean | Reduction::Sum | Reduction::Divisor(_))
        {
            let form = SwapTable { triplet: *row, reduction };
            return fused_counting(sides, setting.space, relevance.as_ref(), &form);
        }
        let run = setting.run(relevance.as_ref(), &[]);
        composed(sides, &run, |scores, masks| {
            let between = match sides.references {
                None => scores.clone(),
                Some(references) => {
                    let y = wide(references)?.to_dtype(scores.dtype())?;
                    setting.space.compose(&y, &y)?
                }
            };
            row.composed(scores, Some(&between), masks)
        })
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

struct SwapTable<'a> {
    triplet: Triplet,
    reduction: &'a Reduction,
}

/// The same, for all threads.
#[derive(Clone, Copy)]
struct Swap<'a> {
    triplet: Triplet,
    hardest: Option<&'a [Option<(usize, usize)>]>,
}

/// What pairs of an anchor and a positive make with its negatives: sum of terms, how many there are, how many are above 0, and
/// the sum of their slopes.
#[derive(Default)]
struct Tally {
    sum: f64,
    count: f64,
    active: f64,
    pull: f64,
}

/// Negatives gone through together, in lanes.
const BLOCK: usize = 256;
const LANES: usize = 16;

/// In which rows of a pair of an anchor and a positive a sweep writes.
#[derive(Clone, Copy)]
enum Side {
    /// That of the anchor.
    Anchor,
    /// That of the positive.
    Positive,
    /// That of the anchor, for this pair and for the one the other way round.
    Both,
}

impl Swap<'_> {
    /// The negatives of anchor `a` and positive `p`.
    fn negatives<T: Real>(&self, table: &Table<'_, T>, (a, p): (usize, usize)) -> Vec<Range<usize>> {
        match self.hardest {
            Some(picked) => picked[a].iter().filter(|t| t.0 == p).map(|t| t.1..t.1 + 1).collect(),
            None => table.with_row(a, |row| row.negative_ranges().collect()),
        }
    }

    /// Goes through the negatives of a pair; subtracts from `gradient` what the slopes are, by the distance to the anchor,
    /// or to the positive.
    #[inline(always)]
    fn pair<T: Real>(
        &self,
        table: &Table<'_, T>,
        (a, p): (usize, usize),
        side: Side,
        negatives: &[Range<usize>],
        gradient: &mut [T],
        tally: &mut Tally,
    ) {
        let (from_anchor, from_positive) = (table.row(a), table.row(p));
        let bounds = self.triplet.bounds(self.triplet.mining, T::of(self.triplet.sign) * from_anchor[p]);
        for range in negatives.iter().cloned() {
            let scores = (&from_anchor[range.clone()], &from_positive[range.clone()]);
            // Asked once, so that loops become vector instructions.
            if self.triplet.soft {
                self.sweep(bounds, side, scores, &mut gradient[range], tally, vector::softplus);
            } else {
                self.sweep(bounds, side, scores, &mut gradient[range], tally, vector::hinge);
            }
        }
    }

    #[inline(always)]
    fn sweep<T: Real>(
        &self,
        bounds: Bounds<T>,
        side: Side,
        (from_anchor, from_positive): (&[T], &[T]),
        gradient: &mut [T],
        tally: &mut Tally,
        term: impl Fn(T) -> (T, T),
    ) {
        let (sign, half) = (T::of(self.triplet.sign), T::of(0.5));
        // The share of the nearer of the two, and of the other.
        let (near, far) = match side {
            Side::Anchor => (T::one(), T::zero()),
            Side::Positive => (T::zero(), T::one()),
            Side::Both => (T::of(2.0), T::zero()),
        };
        let of = |b: bool| if b { T::one() } else { T::zero() };
        let scores = from_anchor.chunks(BLOCK).zip(from_positive.chunks(BLOCK));
        for ((an, pn), gradient) in scores.zip(gradient.chunks_mut(BLOCK)) {
            let [mut sum, mut count, mut active, mut pull] = [[T::zero(); LANES]; 4];
            let mut one = |lane: usize, an: T, pn: T, g: &mut T| {
                let (an, pn) = (sign * an, sign * pn);
                let hold = bounds.hold(an);
                // Where either is not a number, so is the term.
                let nearest = if (pn < an) | pn.is_nan() { pn } else { an };
                let (value, slope) = term(bounds.reach - nearest);
                let (value, slope) = if hold { (value, slope) } else { (T::zero(), T::zero()) };
                // The anchor is nearer, or the positive, or neither.
                let share = if pn < an { far } else { near };
                let share = if pn == an { half * (near + far) } else { share };
                *g -= slope * share;
                sum[lane] += value;
                count[lane] += of(hold);
                active[lane] += of((value > T::zero()) | value.is_nan());
                pull[lane] += slope;
            };
            let rest = gradient.len() - gradient.len() % LANES;
            for k in rest..gradient.len() {
                one(k - rest, an[k], pn[k], &mut gradient[k]);
            }
            let chunks = an.chunks_exact(LANES).zip(pn.chunks_exact(LANES));
            for ((an, pn), g) in chunks.zip(gradient.chunks_exact_mut(LANES)) {
                for k in 0..LANES {
                    one(k, an[k], pn[k], &mut g[k]);
                }
            }
            let total = |lanes: [T; LANES]| lanes.into_iter().sum::<T>().wide();
            tally.sum += total(sum);
            tally.count += total(count);
            tally.active += total(active);
            tally.pull += total(pull);
        }
    }

    /// Writes the row of `r` in `gradient`, as an anchor and as a positive of `anchors` (ascending), all but the sign.
    #[inline(always)]
    fn row<T: Real>(&self, table: &Table<'_, T>, r: usize, anchors: &[u32], gradient: &mut [T]) -> Tally {
        let (mut tally, mut done) = (Tally::default(), Vec::new());
        let positives: Vec<u32> = table.with_row(r, |row| row.positives.to_vec());
        for p in positives.into_iter().map(|p| p as usize) {
            let (before, negatives) = (tally.pull, self.negatives(table, (r, p)));
            // The pair the other way round has the same triplets with the same terms.
            let mutual = self.triplet.mining == TripletMining::All
                && anchors.binary_search(&(p as u32)).is_ok()
                && table.row(r)[p] == table.row(p)[r]
                && negatives == self.negatives(table, (p, r));
            let side = if mutual { Side::Both } else { Side::Anchor };
            self.pair(table, (r, p), side, &negatives, gradient, &mut tally);
            gradient[p] += T::of(tally.pull - before);
            done.extend(mutual.then_some(p));
        }
        done.sort_unstable();
        for a in anchors.iter().map(|&a| a as usize).filter(|a| done.binary_search(a).is_err()) {
            let negatives = self.negatives(table, (a, r));
            self.pair(table, (a, r), Side::Positive, &negatives, gradient, &mut Tally::default());
        }
        tally
    }
}

impl Counting for SwapTable<'_> {
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64> {
        let mut anchors_of = vec![Vec::new(); table.m];
        let mut sets = Sets::default();
        for a in 0..table.n {
            sets.clear();
            table.relevance.row(a, &mut sets);
            sets.positives.iter().for_each(|&p| anchors_of[p as usize].push(a as u32));
        }
        let triplet = self.triplet;
        let hardest: Option<Vec<_>> = (triplet.mining == TripletMining::BatchHard).then(|| {
            (0..table.n)
                .into_par_iter()
                .map(|a| {
                    table.with_row(
                        a,
                        #[inline(always)]
                        |row| triplet.hardest_of(row),
                    )
                })
                .collect()
        });
        let swap = Swap { triplet, hardest: hardest.as_deref() };
        let rows = gradient.par_chunks_mut(table.m).zip(&anchors_of).enumerate();
        let tallies: Vec<Tally> = rows
            .map(|(r, (gradient, anchors))| {
                vector::widest(
                    #[inline(always)]
                    || swap.row(table, r, anchors, gradient),
                )
            })
            .collect();
        let total = |of: fn(&Tally) -> f64| tallies.iter().map(of).sum::<f64>();
        let (sum, count, active) = (total(|t| t.sum), total(|t| t.count), total(|t| t.active));
        // Nearest and furthest pass over what is not a number.
        let lost = hardest.is_some() && count > 0.0 && vector::sum(table.scores).is_nan();
        let divisor = match self.reduction {
            _ if lost => f64::NAN,
            Reduction::Mean => count,
            Reduction::Sum => 1.0,
            Reduction::Divisor(by) => *by,
            _ => active,
        };
        let terms = if *self.reduction == Reduction::MeanNonZero { active } else { count };
        (seen.terms[0], seen.active[0]) = (terms, active);
        let factor = over(divisor);
        let step = T::of(triplet.sign * factor);
        gradient.par_chunks_mut(table.m).for_each(|row| vector::scale(row, step));
        Ok(sum * factor)
    }
}
