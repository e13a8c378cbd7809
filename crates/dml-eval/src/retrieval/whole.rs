//! Whole rankings from embeddings.

use super::exclusion::Exclusion;
use super::judge::{Judge, Verdict};
use super::rankings::{Placed, Rankings};
use super::relevance::Relevance;
use super::ties::Ties;
use crate::Result;
use crate::finite::check_finite;
use dml_core::{Matrix, Metric, RankQuestion, Watch, ranks, unwatched};
use rayon::prelude::*;

impl Rankings {
    /// Ranks all of `gallery` (`[m, d]`) for each of `queries` (`[n, d]`). Nothing is sorted but the relevant items: the
    /// others are counted between them. The same memory as queries and gallery costs half of the products.
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
        Self::whole_watched(metric, queries, gallery, relevance, exclude, ties, &unwatched)
    }

    /// [`Rankings::whole`], watched.
    ///
    /// # Errors
    /// As there, and when `watch` breaks off.
    pub fn whole_watched(
        metric: Metric,
        queries: Matrix<'_>,
        gallery: Matrix<'_>,
        relevance: &Relevance<'_>,
        exclude: &[Exclusion<'_>],
        ties: Ties,
        watch: Watch<'_>,
    ) -> Result<Self> {
        check_finite("query", queries, 0)?;
        check_finite("gallery item", gallery, 0)?;
        let judge = Judge::new(relevance, exclude, queries.rows(), gallery.rows())?;
        let graded = relevance.is_graded();
        let verdict = |q: usize| {
            let mut verdict = Verdict::default();
            judge.judge(q, &mut verdict);
            verdict
        };
        let wanted = |q: usize, list: &mut Vec<u32>| list.extend(verdict(q).relevant.iter().map(|item| item.0));
        let excluded = |q: usize, list: &mut Vec<u32>| list.append(&mut verdict(q).excluded);
        let question =
            RankQuestion { metric, queries, gallery, wanted: &wanted, excluded: &excluded, ties: ties.into() };
        let ranks = ranks(&question, watch)?;
        let placed = (0..judge.queries()).into_par_iter().map(|q| {
            let verdict = verdict(q);
            let found = placed(ranks.of(q), ranks.closeness_of(q), &verdict, ties);
            Placed { found, ..Placed::of(&judge, &verdict, graded) }
        });
        Self::assemble(placed.collect(), None, graded)
    }
}

/// Ranks and gains of the relevant items, in order: those of equal items go by gain where ties do.
fn placed(ranks: &[u32], closeness: &[f32], verdict: &Verdict, ties: Ties) -> Vec<(u32, f32)> {
    let items = ranks.iter().zip(closeness).zip(&verdict.relevant);
    let mut items: Vec<(u32, f32, f32)> = items.map(|((&rank, &closeness), item)| (rank, closeness, item.1)).collect();
    items.sort_unstable_by_key(|item| item.0);
    let mut found = Vec::with_capacity(items.len());
    for equal in items.chunk_by(|a, b| a.1 == b.1) {
        let mut gains: Vec<f32> = equal.iter().map(|item| item.2).collect();
        match ties {
            Ties::ById => {}
            Ties::Optimistic => gains.sort_by(|a, b| b.total_cmp(a)),
            Ties::Pessimistic => gains.sort_by(f32::total_cmp),
        }
        found.extend(equal.iter().map(|item| item.0).zip(gains));
    }
    found
}

/// How far off a score says an item is. What is no number (scores can overflow) is furthest.
pub(crate) fn distance(score: f32, sign: f32) -> f32 {
    let distance = sign * score;
    if distance.is_nan() { f32::INFINITY } else { distance }
}
