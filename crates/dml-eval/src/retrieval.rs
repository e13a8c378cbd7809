//! Retrieval within one set: each item queries all others.
//!
//! * Recall@K = share of queries with an item of their class among the K nearest (a hit rate, as in the DML papers).
//! * R-precision = r/R, with R the other items of the class and r those of them among the R nearest.
//! * MAP@R = `(1/R) Σ_{i≤R} P(i)·rel(i)`. Musgrave et al., *A Metric Learning Reality Check*, 2020.
//!
//! The query is left out by its index. Queries without another item of their class are counted and left out of the means.

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

/// Measures retrieval of `embeddings` (`[n, d]`) against themselves.
///
/// # Errors
/// When labels are not one per row, no class has two items, or a K is 0 or more than n − 1.
pub fn retrieval(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], recall_at: &[usize]) -> Result<Retrieval> {
    check(embeddings, labels)?;
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    for label in labels {
        *sizes.entry(*label).or_default() += 1;
    }
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
    let mut hits = vec![0usize; recall_at.len()];
    let (mut r_precision, mut map_at_r, mut queries) = (0f64, 0f64, 0usize);
    for (q, label) in labels.iter().enumerate() {
        let relevant = sizes[label] - 1;
        if relevant == 0 {
            continue;
        }
        queries += 1;
        let right: Vec<bool> = found.ids_of(q).iter().map(|&id| labels[id as usize] == *label).collect();
        for (hits, &k) in hits.iter_mut().zip(recall_at) {
            *hits += usize::from(right[..k].contains(&true));
        }
        let (precision, average) = within_r(&right[..relevant]);
        r_precision += precision;
        map_at_r += average;
    }
    let share = |sum: f64| sum / queries as f64;
    Ok(Retrieval {
        recall_at: recall_at.iter().zip(hits).map(|(&k, hits)| (k, share(hits as f64))).collect(),
        r_precision: share(r_precision),
        map_at_r: share(map_at_r),
        queries,
        lone_queries: labels.len() - queries,
    })
}

/// R-precision and average precision of the first R results.
fn within_r(right: &[bool]) -> (f64, f64) {
    let (mut hits, mut average) = (0f64, 0f64);
    for (i, _) in right.iter().enumerate().filter(|(_, right)| **right) {
        hits += 1.0;
        average += hits / (i + 1) as f64;
    }
    (hits / right.len() as f64, average / right.len() as f64)
}
