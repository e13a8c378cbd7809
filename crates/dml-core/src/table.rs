//! Losses of the whole score matrix: those whose terms tie several rows together.

use crate::pull_back::{BlockPull, Puller};
use crate::relevance::{Relevance, Sets};
use crate::row::Row;
use crate::rowwise::{BLOCK, Statistics};
use crate::scores::{Side, parallel_scores, parallel_self_scores};
use crate::scratch::Scratch;
use crate::terms::over;
use crate::vector::widest;
use crate::{Matrix, Metric, Projection, Real, Result};
use rayon::prelude::*;

/// Numbers set to 0 together.
const ZEROED: usize = 1 << 16;

/// A whole score matrix.
pub struct Table<'a, T> {
    /// Scores `[n, m]`.
    pub scores: &'a [T],
    /// Number of anchors.
    pub n: usize,
    /// Number of references.
    pub m: usize,
    /// Who is a positive and who a negative of whom.
    pub relevance: &'a dyn Relevance,
}

impl<T: Real> Table<'_, T> {
    /// Scores of anchor `i`.
    pub fn row(&self, i: usize) -> &[T] {
        &self.scores[i * self.m..][..self.m]
    }

    /// Calls `f` with the row of anchor `i`; marked `#[inline(always)]` it is compiled for the machine's widest vectors.
    pub fn with_row<R>(&self, i: usize, f: impl FnOnce(&Row<'_, T>) -> R) -> R {
        let (mut sets, mut others) = (Sets::default(), Vec::new());
        self.relevance.row(i, &mut sets);
        let row = Row::new(i, self.relevance.class(i), self.row(i), &sets, &mut others);
        widest(
            #[inline(always)]
            || f(&row),
        )
    }

    /// Pairs and their mean scores; the terms are the loss's to tell.
    pub fn pairs(&self) -> Statistics {
        let of_row = |i: usize| {
            self.with_row(i, |row| {
                let positive: f64 = row.positives().map(|j| row.scores[j].wide()).sum();
                [row.positives.len() as f64, positive, row.count_negatives() as f64, row.sum_of_negatives()]
            })
        };
        let rows: Vec<[f64; 4]> = (0..self.n).into_par_iter().map(of_row).collect();
        let total = |k: usize| rows.iter().map(|row| row[k]).sum::<f64>();
        let (positive_pairs, negative_pairs) = (total(0), total(2));
        Statistics {
            positive_pairs,
            mean_positive: total(1) * over(positive_pairs),
            negative_pairs,
            mean_negative: total(3) * over(negative_pairs),
            ..Statistics::default()
        }
    }
}

/// Value and gradients of `loss`, a function of the whole score matrix that writes `dL/dscores` `[n, m]` into its second
/// argument, which comes as zeros, and returns the value, and whatever else it saw, which comes back last. References are
/// the anchors themselves when `None`; then all of the gradient is in the first `[n, d]`, and the second is empty.
///
/// # Errors
/// When vectors differ in length, or those of `loss`.
pub fn tablewise<T: Real, X, E: From<crate::Error>>(
    metric: Metric,
    anchors: Matrix<'_, T>,
    references: Option<Matrix<'_, T>>,
    relevance: &dyn Relevance,
    loss: impl FnOnce(&Table<'_, T>, &mut [T]) -> std::result::Result<(f64, X), E>,
) -> std::result::Result<(f64, Vec<T>, Vec<T>, X), E> {
    if metric == Metric::Cosine {
        let a = Projection::Unit.apply(anchors);
        let b = references.map(|b| Projection::Unit.apply(b));
        let unit = b.as_ref().map(|b| b.matrix());
        let (value, mut da, mut db, seen) = tablewise(Metric::Dot, a.matrix(), unit, relevance, loss)?;
        a.pull_back(&mut da);
        if let Some(b) = &b {
            b.pull_back(&mut db);
        }
        return Ok((value, da, db, seen));
    }
    same_width(anchors, references)?;
    let (n, m, d) = (anchors.rows(), references.unwrap_or(anchors).rows(), anchors.cols());
    let a = Side::new(metric, anchors);
    let b = references.map(|b| Side::new(metric, b));
    let mut scores = Scratch::new(n * m);
    if !scores.is_empty() {
        match &b {
            None => parallel_self_scores(metric, &a, n, &mut scores),
            Some(b) => parallel_scores(metric, &a, b, 0, m, &mut scores),
        }
    }
    let mut gradient = Scratch::new(n * m);
    gradient.par_chunks_mut(ZEROED).for_each(|g| g.fill(T::zero()));
    let (value, seen) = loss(&Table { scores: &scores, n, m, relevance }, &mut gradient)?;
    let mut puller = Puller::new(metric, (&a, n), (b.as_ref(), m), d, true);
    if m > 0 {
        let blocks = gradient.par_chunks_mut(BLOCK * m).zip(scores.par_chunks(BLOCK * m)).enumerate();
        let pull = |(block, (g, scores)): (usize, (&mut [T], &[T]))| {
            let mut pull = puller.block();
            let rows = g.chunks_exact_mut(m).zip(scores.chunks_exact(m)).enumerate();
            rows.for_each(|(i, (g, scores))| puller.to_products(block * BLOCK + i, scores, g, &mut pull));
            pull
        };
        let pulls: Vec<BlockPull<T>> = blocks.map(pull).collect();
        puller.add_rows(0, &scores, &mut gradient, pulls);
    }
    let (da, db) = puller.finish();
    Ok((value, da, db, seen))
}

fn same_width<T>(anchors: Matrix<'_, T>, references: Option<Matrix<'_, T>>) -> Result<()> {
    references.map_or(Ok(()), |references| anchors.same_width(references))
}
