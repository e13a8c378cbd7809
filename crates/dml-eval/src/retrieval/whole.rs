//! Whole rankings from embeddings.

use super::exclusion::Exclusion;
use super::judge::{Judge, Verdict};
use super::rankings::{Placed, Rankings};
use super::relevance::Relevance;
use super::ties::Ties;
use crate::{Error, Result};
use dml_core::{Matrix, Metric, for_each_score_row};
use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};

impl Rankings {
    /// Ranks all of `gallery` (`[m, d]`) for each of `queries` (`[n, d]`). Nothing is sorted but the relevant items: the
    /// others are counted between them.
    ///
    /// # Errors
    /// When vectors differ in length or hold what is not finite, or labels, lists, groups or cameras are not one per row.
    pub fn whole(
        metric: Metric,
        queries: Matrix<'_>,
        gallery: Matrix<'_>,
        relevance: &Relevance<'_>,
        exclude: &[Exclusion<'_>],
        ties: Ties,
    ) -> Result<Self> {
        check_finite("query", queries)?;
        check_finite("gallery item", gallery)?;
        let judge = Judge::new(relevance, exclude, queries.rows(), gallery.rows())?;
        let graded = relevance.is_graded();
        let slots: Vec<Mutex<Placed>> = (0..judge.queries()).map(|_| Mutex::default()).collect();
        for_each_score_row(metric, queries, gallery, |q, row| {
            let mut verdict = Verdict::default();
            judge.judge(q, &mut verdict);
            let found = place(row, metric.sign() as f32, &verdict, ties);
            let placed = Placed { found, ..Placed::of(&judge, &verdict, graded) };
            *slots[q].lock().unwrap_or_else(PoisonError::into_inner) = placed;
        })?;
        let placed = slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        Self::assemble(placed.collect(), None, graded)
    }
}

/// Refuses vectors that are not numbers.
pub(crate) fn check_finite(what: &str, rows: Matrix<'_>) -> Result<()> {
    match (0..rows.rows()).find(|&i| rows.row(i).iter().any(|v| !v.is_finite())) {
        Some(i) => Err(Error::Input(format!("{what} {i} holds a value that is not finite: check the model"))),
        None => Ok(()),
    }
}

/// How far off a score says an item is. What is no number (scores can overflow) is furthest.
pub(crate) fn distance(score: f32, sign: f32) -> f32 {
    let distance = sign * score;
    if distance.is_nan() { f32::INFINITY } else { distance }
}

/// Ranks and gains of the relevant items in one row of scores.
fn place(row: &[f32], sign: f32, verdict: &Verdict, ties: Ties) -> Vec<(u32, f32)> {
    let mut relevant: Vec<(f32, u32, f32)> =
        verdict.relevant.iter().map(|&(id, gain)| (distance(row[id as usize], sign), id, gain)).collect();
    relevant.sort_unstable_by(|a, b| {
        let by_gain = match ties {
            Ties::ById => Ordering::Equal,
            Ties::Optimistic => b.2.total_cmp(&a.2),
            Ties::Pessimistic => a.2.total_cmp(&b.2),
        };
        a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then(by_gain).then(a.1.cmp(&b.1))
    });
    // Others that come after the first i relevant items and before the next.
    let mut others = vec![0u32; relevant.len() + 1];
    let mut skipped = verdict.relevant.iter().map(|item| item.0).peekable();
    let mut excluded = verdict.excluded.iter().copied().peekable();
    for (id, &score) in (0u32..).zip(row) {
        if skipped.next_if_eq(&id).is_some() || excluded.next_if_eq(&id).is_some() {
            continue;
        }
        let distance = distance(score, sign);
        let after = relevant.partition_point(|item| match ties {
            Ties::ById => (item.0, item.1) < (distance, id),
            Ties::Optimistic => item.0 <= distance,
            Ties::Pessimistic => item.0 < distance,
        });
        others[after] += 1;
    }
    let mut rank = 0;
    let ranked = relevant.iter().zip(others).map(|(item, before)| {
        rank += before + 1;
        (rank, item.2)
    });
    ranked.collect()
}
