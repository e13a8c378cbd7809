//! What a row objective sees.

use crate::relevance::Sets;
use crate::{Real, vector};
use std::ops::Range;

/// One row of the score matrix: an anchor against all references.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, T> {
    /// Index of the anchor.
    pub anchor: usize,
    /// Its class, where it has just one.
    pub class: Option<u64>,
    /// Scores against all references.
    pub scores: &'a [T],
    /// Columns of positives.
    pub positives: &'a [u32],
    /// (positive, negative) columns a miner has named, if one has.
    pub triplets: Option<&'a [(u32, u32)]>,
    /// How relevant each column is; empty where nobody says.
    pub grades: &'a [f32],
    negatives: Option<&'a [u32]>,
    /// Positives and ignored columns, ascending, without doubles: all that is no negative where none are listed.
    others: &'a [u32],
}

impl<'a, T: Real> Row<'a, T> {
    /// The row of an anchor; `others` is scratch.
    pub fn new(anchor: usize, class: Option<u64>, scores: &'a [T], sets: &'a Sets, others: &'a mut Vec<u32>) -> Self {
        others.clear();
        if sets.negatives.is_none() {
            others.extend_from_slice(&sets.positives);
            others.extend_from_slice(&sets.ignored);
            others.sort_unstable();
            others.dedup();
        }
        Self {
            anchor,
            class,
            scores,
            positives: &sets.positives,
            triplets: sets.triplets.as_deref(),
            grades: &sets.grades,
            negatives: sets.negatives.as_deref(),
            others,
        }
    }

    /// Number of negatives.
    pub fn count_negatives(&self) -> usize {
        self.negatives.map_or(self.scores.len() - self.others.len(), <[u32]>::len)
    }

    /// The negatives where a miner has listed them, who may name one more than once; `None`: all that is not excluded.
    pub fn listed_negatives(&self) -> Option<&'a [u32]> {
        self.negatives
    }

    /// The negatives, as ranges of columns.
    pub fn negative_ranges(&self) -> impl Iterator<Item = Range<usize>> + 'a {
        let (listed, others, m) = (self.negatives, self.others, self.scores.len());
        let single = listed.unwrap_or_default().iter().map(|&j| j as usize..j as usize + 1);
        let gaps = if listed.is_some() { 0 } else { others.len() + 1 };
        let gap = move |k: usize| {
            let start = if k == 0 { 0 } else { others[k - 1] as usize + 1 };
            start..others.get(k).map_or(m, |&j| j as usize)
        };
        single.chain((0..gaps).map(gap).filter(|range| !range.is_empty()))
    }

    /// The negatives' columns.
    pub fn negatives(&self) -> impl Iterator<Item = usize> + 'a {
        self.negative_ranges().flatten()
    }

    /// The negative of the smallest `sign · score`, `sign` being [`Metric::sign`](crate::Metric::sign): the first of equals.
    /// What is not a number is passed over; of nothing else, the first.
    #[inline(always)]
    pub fn nearest_negative(&self, sign: f64) -> Option<usize> {
        let (far, mut nearest) = (T::of(sign), None);
        for range in self.negative_ranges() {
            let scores = &self.scores[range.clone()];
            let best = if sign > 0.0 { vector::smallest(scores) } else { vector::largest(scores) };
            if nearest.is_none_or(|(least, _)| far * best < far * least) {
                let place = scores.iter().position(|&s| s == best).unwrap_or(0);
                nearest = Some((best, range.start + place));
            }
        }
        nearest.map(|(_, column)| column)
    }

    /// The positives' columns.
    pub fn positives(&self) -> impl Iterator<Item = usize> + 'a {
        self.positives.iter().map(|&j| j as usize)
    }

    /// The scores into `out` `[m]` where the column is a negative, `fill` elsewhere.
    pub fn only_negatives(&self, fill: T, out: &mut [T]) {
        match self.negatives {
            Some(listed) => {
                out.fill(fill);
                listed.iter().for_each(|&j| out[j as usize] = self.scores[j as usize]);
            }
            None => {
                out.copy_from_slice(self.scores);
                self.others.iter().for_each(|&j| out[j as usize] = fill);
            }
        }
    }

    /// Sum of the scores of negatives.
    pub(crate) fn sum_of_negatives(&self) -> f64 {
        match self.negatives {
            Some(listed) => listed.iter().map(|&j| self.scores[j as usize].wide()).sum(),
            None => {
                let others: f64 = self.others.iter().map(|&j| self.scores[j as usize].wide()).sum();
                vector::sum(self.scores) - others
            }
        }
    }
}
