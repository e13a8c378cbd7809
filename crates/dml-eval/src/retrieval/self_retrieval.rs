//! Retrieval within one set, or of its queries in its gallery, in the numbers that a training run keeps.

use super::{Bootstrap, Exclusion, Measure, Policy, Rankings, Relevance, Ties, Window, evaluate};
use crate::{Error, Result, check};
use dml_core::{Exclude, Matrix, Metric, nearest};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Retrieval measures of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// (K, Recall@K).
    pub recall_at: Vec<(usize, f64)>,
    /// R-precision.
    pub r_precision: f64,
    /// MAP@R.
    pub map_at_r: f64,
    /// Queries in the means.
    pub queries: usize,
    /// Queries without another item of their class.
    pub lone_queries: usize,
}

/// Measures retrieval of `embeddings` (`[n, d]`) against themselves: each item queries all others. The query is left out by
/// its index, lone queries are left out of the means, ties go by smaller id.
///
/// # Errors
/// When labels are not one per row, no class has two items, or a K is 0 or more than n − 1.
pub fn retrieval(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], recall_at: &[usize]) -> Result<Retrieval> {
    check(embeddings, labels)?;
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    labels.iter().for_each(|label| *sizes.entry(*label).or_default() += 1);
    let largest = sizes.values().max().copied().unwrap_or(0);
    if largest < 2 {
        return Err(Error::Input("no class has two items: there is nothing to retrieve".to_owned()));
    }
    let others = labels.len() - 1;
    if let Some(k) = recall_at.iter().find(|&&k| k == 0 || k > others) {
        return Err(Error::Input(format!("recall@{k} of {} items: want K of 1 to {others}", labels.len())));
    }
    let k = recall_at.iter().copied().max().unwrap_or(1).max(largest - 1);
    let found = nearest(metric, embeddings, embeddings, k, Exclude::SelfIndex)?;
    let rankings = Rankings::from_nearest(&found, labels.len(), &Relevance::within(labels), &[Exclusion::SelfIndex])?;
    summary(&rankings, labels, recall_at)
}

/// Measures retrieval of `queries` in `gallery`, rows of `embeddings` (`[n, d]`), as In-Shop and other sets with such roles want it.
/// A row that is both does not find itself; otherwise as [`retrieval`].
///
/// # Errors
/// When labels are not one per row, a row is not below `n`, there are no queries or no gallery, or an embedding is not finite.
pub fn retrieval_in_gallery(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    [queries, gallery]: [&[u32]; 2],
    recall_at: &[usize],
) -> Result<Retrieval> {
    check(embeddings, labels)?;
    let n = embeddings.rows();
    for (what, rows) in [("queries", queries), ("gallery", gallery)] {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= n) {
            return Err(Error::Input(format!("{what} name row {row} of {n}: rows count from 0")));
        }
        if rows.is_empty() {
            return Err(Error::Input(format!("there are no {what}: name at least one row")));
        }
    }
    let values = |rows: &[u32]| -> Vec<f32> {
        rows.iter().flat_map(|&row| embeddings.row(row as usize).iter().copied()).collect()
    };
    let of = |rows: &[u32]| -> Vec<u32> { rows.iter().map(|&row| labels[row as usize]).collect() };
    let (asked, found) = (values(queries), values(gallery));
    let d = embeddings.cols();
    let (asked, found) = (Matrix::new(&asked, queries.len(), d)?, Matrix::new(&found, gallery.len(), d)?);
    let (of_queries, of_gallery) = (of(queries), of(gallery));
    let relevance = Relevance::Labels { queries: &of_queries, gallery: &of_gallery };
    // Each row is a group of its own.
    let itself = Exclusion::SameGroup { queries, gallery };
    let rankings = Rankings::whole(metric, asked, found, &relevance, &[itself], Ties::ById)?;
    summary(&rankings, &of_queries, recall_at)
}

/// What a training run keeps of rankings; `labels` are those of the queries.
fn summary(rankings: &Rankings, labels: &[u32], recall_at: &[usize]) -> Result<Retrieval> {
    let within_r = [Measure::R_PRECISION, Measure::MAP_AT_R];
    let recalls = recall_at.iter().map(|&k| Measure::HitRate { within: Window::First(k) });
    let measures: Vec<Measure> = within_r.into_iter().chain(recalls).collect();
    let policy = Policy { bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..Policy::default() };
    let found = evaluate(rankings, &measures, Some(labels), &policy)?;
    let mean = |at: usize| found.measured.get(at).map_or(f64::NAN, |measured| measured.micro_mean);
    Ok(Retrieval {
        recall_at: recall_at.iter().enumerate().map(|(at, &k)| (k, mean(within_r.len() + at))).collect(),
        r_precision: mean(0),
        map_at_r: mean(1),
        queries: found.queries.len(),
        lone_queries: found.lone_queries,
    })
}
