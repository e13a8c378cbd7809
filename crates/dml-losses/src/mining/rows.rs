//! The driver of miners: one row of scores at a time, in parallel, in order.

use super::Miner;
use crate::row_loss::Space;
use crate::{Batch, Error, Result, Tuples};
use candle_core::{DType, WithDType};
use dml_core::relevance::Sets;
use dml_core::{Projected, Real, Row, for_each_score_row, with_host};
use std::sync::OnceLock;

/// What a miner finds in one row.
pub(crate) trait Find: Sync {
    /// What it finds.
    type Found: Send + Sync;

    /// Finds it.
    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found;
}

/// (positive pairs, negative pairs) of a row.
pub(crate) type PairsOfRow = (Vec<(u32, u32)>, Vec<(u32, u32)>);

/// What rows find, as tuples of the batch.
pub(crate) trait Join: Send + Sync + Sized {
    fn join(rows: Vec<Self>) -> Tuples;
}

impl Join for Vec<[u32; 3]> {
    fn join(rows: Vec<Self>) -> Tuples {
        Tuples::Triplets(rows.concat())
    }
}

impl Join for PairsOfRow {
    fn join(rows: Vec<Self>) -> Tuples {
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for (p, n) in rows {
            positives.extend(p);
            negatives.extend(n);
        }
        Tuples::Pairs { positives, negatives }
    }
}

/// A score and its column.
pub(crate) type ScoredPair = (f64, u32);

/// Finds all pairs: (positive, negative).
pub(crate) struct AllPairs;

impl Find for AllPairs {
    type Found = (Vec<ScoredPair>, Vec<ScoredPair>);

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let pair = |j: usize| (row.scores[j].wide(), j as u32);
        (row.positives().map(pair).collect(), row.negatives().map(pair).collect())
    }
}

/// A miner that looks at one row at a time and draws nothing.
pub(crate) struct RowMiner<F> {
    pub(crate) space: Space,
    pub(crate) rule: F,
}

impl<F: Find<Found: Join> + Send> Miner for RowMiner<F> {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        Ok(Join::join(find(self.space, batch, &self.rule)?))
    }
}

/// What `rule` finds in each row of the scores of a batch, in order.
pub(crate) fn find<F: Find>(space: Space, batch: &Batch<'_>, rule: &F) -> Result<Vec<F::Found>> {
    if batch.embeddings.dtype() == DType::F64 {
        find_in::<f64, F>(space, batch, rule)
    } else {
        find_in::<f32, F>(space, batch, rule)
    }
}

fn find_in<T: Real + WithDType, F: Find>(space: Space, batch: &Batch<'_>, rule: &F) -> Result<Vec<F::Found>> {
    let relevance = Batch { tuples: None, ..*batch }.relevance()?;
    let (anchors, references) = both_sides::<T>(space, batch)?;
    let gallery = references.as_ref().unwrap_or(&anchors).matrix();
    let (n, m) = batch.sizes()?;
    if (relevance.anchors(), relevance.references()) != (n, m) {
        let (a, b) = (relevance.anchors(), relevance.references());
        return Err(Error::Labels(format!(
            "the relevance is of {a} by {b} rows but there are {n} by {m}: give it of these"
        )));
    }
    let found: Vec<OnceLock<F::Found>> = (0..n).map(|_| OnceLock::new()).collect();
    for_each_score_row(space.metric, anchors.matrix(), gallery, |i, scores: &[T]| {
        if scores.iter().fold(false, |lost, s| lost | s.is_nan()) {
            return;
        }
        let (mut sets, mut others) = (Sets::default(), Vec::new());
        relevance.row(i, &mut sets);
        let row = Row::new(i, relevance.class(i), scores, &sets, &mut others);
        // Each row comes once.
        let _ = found[i].set(rule.row(&row));
    })?;
    let lost = |row| Error::NotNumbers { what: "miner".to_owned(), row };
    found.into_iter().enumerate().map(|(i, cell)| cell.into_inner().ok_or_else(|| lost(i))).collect()
}

/// Anchors and references on the host, as the space has them.
pub(crate) fn both_sides<T: Real + WithDType>(
    space: Space,
    batch: &Batch<'_>,
) -> Result<(Projected<T>, Option<Projected<T>>)> {
    let take =
        |tensor| -> Result<Projected<T>> { Ok(with_host::<T, _>(tensor, |values| space.projection.apply(values))?) };
    Ok((take(batch.embeddings)?, batch.references.map(|r| take(r.embeddings)).transpose()?))
}

/// The column of the anchor itself, if it is among the references.
pub(crate) fn own_column(batch: &Batch<'_>, anchor: usize) -> Option<u32> {
    let offset = batch.references.map_or(Some(0), |references| references.self_offset);
    offset.map(|offset| (offset + anchor) as u32)
}

/// The column with the largest `sign · score`, the first of equals.
pub(crate) fn furthest<T: Real>(row: &Row<'_, T>, sign: T, columns: impl Iterator<Item = usize>) -> Option<usize> {
    let far = |j: usize| sign * row.scores[j];
    columns.reduce(|best, j| if far(j) > far(best) { j } else { best })
}

/// The column with the smallest `sign · score`, the first of equals.
pub(crate) fn nearest<T: Real>(row: &Row<'_, T>, sign: T, columns: impl Iterator<Item = usize>) -> Option<usize> {
    furthest(row, -sign, columns)
}
