//! Triplets in which the positive may stand in for the anchor: terms that tie a row to those of its positives.

use super::Triplet;
use super::TripletMining;
use crate::row_loss::{RowLoss, Sides, composed, wide};
use crate::tabular::{Counting, fused_counting};
use crate::{Batch, Evaluation, Objective, Result};
use dml_core::relevance::Sets;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Reduction, over, vector};
use rayon::prelude::*;

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

/// Sum of terms, how many there are, and how many are above 0.
type Tally = (f64, usize, usize);

impl Swap<'_> {
    /// Calls `f` for each negative of the pair of anchor `a` and positive `p`, with the term, its derivative by the
    /// violation, and the anchor's share in the negative's distance: 1, 0 where the positive is nearer, ½ of equals.
    fn each<T: Real>(&self, table: &Table<'_, T>, (a, p): (usize, usize), f: &mut impl FnMut(usize, T, T, T)) {
        let (sign, margin) = (T::of(self.triplet.sign), T::of(self.triplet.margin));
        let (from_anchor, from_positive) = (table.row(a), table.row(p));
        let ap = sign * from_anchor[p];
        let bounds = self.triplet.bounds(self.triplet.mining, ap);
        let mut one = |q: usize| {
            let (an, pn) = (sign * from_anchor[q], sign * from_positive[q]);
            if !bounds.hold(an) {
                return;
            }
            let (nearest, share) = if pn < an {
                (pn, T::zero())
            } else if pn == an {
                (an, T::of(0.5))
            } else {
                // Where either is not a number, the sum is none.
                (if pn.is_nan() { pn } else { an }, T::one())
            };
            let (value, slope) = self.triplet.term(ap - nearest + margin);
            f(q, value, slope, share);
        };
        match self.hardest {
            Some(picked) => picked[a].iter().filter(|t| t.0 == p).for_each(|t| one(t.1)),
            None => table.with_row(a, |row| row.negatives().for_each(one)),
        }
    }

    /// Writes the row of `r` in `gradient`: as an anchor, and as a positive of `anchors`.
    fn row<T: Real>(&self, table: &Table<'_, T>, r: usize, anchors: &[u32], gradient: &mut [T]) -> Tally {
        let sign = T::of(self.triplet.sign);
        let (mut sum, mut count, mut active) = (0f64, 0, 0);
        let positives: Vec<u32> = table.with_row(r, |row| row.positives.to_vec());
        for p in positives {
            let mut pull = T::zero();
            self.each(table, (r, p as usize), &mut |q, value: T, slope, share| {
                sum += value.wide();
                count += 1;
                active += usize::from(value > T::zero() || value.is_nan());
                pull += slope;
                gradient[q] -= sign * slope * share;
            });
            gradient[p as usize] += sign * pull;
        }
        for &a in anchors {
            self.each(table, (a as usize, r), &mut |q, _, slope, share| {
                gradient[q] -= sign * slope * (T::one() - share);
            });
        }
        (sum, count, active)
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
        let hardest: Option<Vec<_>> = (triplet.mining == TripletMining::BatchHard)
            .then(|| (0..table.n).into_par_iter().map(|a| table.with_row(a, |row| triplet.hardest_of(row))).collect());
        let swap = Swap { triplet, hardest: hardest.as_deref() };
        let rows = gradient.par_chunks_mut(table.m).zip(&anchors_of).enumerate();
        let tallies: Vec<Tally> = rows.map(|(r, (gradient, anchors))| swap.row(table, r, anchors, gradient)).collect();
        let (mut sum, mut count, mut active) = (0.0, 0, 0);
        for tally in tallies {
            sum += tally.0;
            count += tally.1;
            active += tally.2;
        }
        // Nearest and furthest pass over what is not a number.
        let lost = hardest.is_some() && count > 0 && vector::sum(table.scores).is_nan();
        let divisor = match self.reduction {
            _ if lost => f64::NAN,
            Reduction::Mean => count as f64,
            Reduction::Sum => 1.0,
            Reduction::Divisor(by) => *by,
            _ => active as f64,
        };
        let terms = if *self.reduction == Reduction::MeanNonZero { active } else { count };
        (seen.terms[0], seen.active[0]) = (terms as f64, active as f64);
        let factor = over(divisor);
        gradient.par_chunks_mut(table.m).for_each(|row| vector::scale(row, T::of(factor)));
        Ok(sum * factor)
    }
}
