//! Re-ranking by k-reciprocal neighbours. Zhong et al., *Re-ranking Person Re-identification with k-reciprocal Encoding*, CVPR
//! 2017, by the protocol of the code that the authors released:
//!
//! * All rows, queries and gallery, are searched in each other, by squared Euclidean distance (of rows of length 1 for cosine),
//!   divided for each row by its largest: d(i, j) = D(i, j) / max_j D(i, j).
//! * R(i, k) = the rows j among the k + 1 nearest of i (i itself is one) that have i among theirs. R*(i) is R(i, k₁) and every
//!   R(j, round(k₁/2)) with j ∈ R(i, k₁) of which more than two thirds are in R(i, k₁). Halves are rounded to even, as numpy does.
//! * V(i) has `exp(−d(i, j))` at j ∈ R*(i), divided by their sum; then, if k₂ > 1, is the mean of V over the k₂ nearest of i.
//! * Jaccard distance J(q, g) = 1 − m/(2 − m), m = Σ min(V(q), V(g)). Final distance `(1 − λ) J(q, g) + λ d(q, g)`.
//!
//! A row whose k₁ + 1 nearest are others, all equal to it, has no V, and J = 1. V is sparse, so memory is O(n·k₁·k₂) at most, O(n·k₁) in practice, and the matrix of distances never exists.

use crate::finite::{check_directions, check_rows};
use crate::pair_distance::pair_distance;
use crate::{Error, Result};
use dml_core::{Exclude, Matrix, Metric, Nearest, Projection, for_each_score_row, nearest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Parameters of re-ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KReciprocal {
    /// k₁: neighbours that may be reciprocal.
    pub k1: usize,
    /// k₂: rows, each itself included, over which V is averaged; 1 for none.
    pub k2: usize,
    /// λ: share of the original distance, 0 to 1.
    pub lambda: f64,
}

/// Those of the paper: k₁ = 20, k₂ = 6, λ = 0.3.
impl Default for KReciprocal {
    fn default() -> Self {
        Self { k1: 20, k2: 6, lambda: 0.3 }
    }
}

/// The `k` rows of `gallery` (`[m, d]`) nearest to each of `queries` (`[q, d]`) after re-ranking, with their final distances:
/// smaller is closer, ties by smaller id. With k = m the whole ranking.
///
/// # Errors
/// When the metric is none of cosine, Euclidean and squared Euclidean, vectors differ in length, a value is not finite, a row is
/// zeros for cosine, k is 0 or more than m, k₁ or k₂ are 0 or not less than q + m, or λ is not 0 to 1.
pub fn k_reciprocal(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    k: usize,
    options: &KReciprocal,
) -> Result<Nearest> {
    if queries.cols() != gallery.cols() {
        let (q, g) = (queries.cols(), gallery.cols());
        return Err(Error::Input(format!(
            "queries have length {q} and the gallery's rows {g}: embed both with the same model"
        )));
    }
    check_rows("re-ranking, queries", queries, 1)?;
    check_rows("re-ranking, gallery", gallery, 1)?;
    let (q, all) = (queries.rows(), [queries.data(), gallery.data()].concat());
    let all = Matrix::new(&all, q + gallery.rows(), queries.cols())?;
    rerank(metric, all, (q, q..all.rows()), k, options)
}

/// The same of a set in itself: each of `embeddings` (`[n, d]`) queries all others.
///
/// # Errors
/// As [`k_reciprocal`], with k of 1 to n − 1.
pub fn k_reciprocal_within(metric: Metric, embeddings: Matrix<'_>, k: usize, options: &KReciprocal) -> Result<Nearest> {
    check_rows("re-ranking", embeddings, 2)?;
    rerank(metric, embeddings, (embeddings.rows(), 0..embeddings.rows()), k, options)
}

/// Re-ranks rows `gallery` of `all` for its first `queries` rows; none finds itself.
fn rerank(
    metric: Metric,
    all: Matrix<'_>,
    (queries, gallery): (usize, Range<usize>),
    k: usize,
    options: &KReciprocal,
) -> Result<Nearest> {
    check_options(metric, options, all.rows())?;
    let others = gallery.len() - usize::from(gallery.start == 0);
    if k == 0 || k > others {
        return Err(Error::Input(format!(
            "the {k} best of a gallery of {others} after re-ranking: want 1 to {others}"
        )));
    }
    let projection = if metric == Metric::Cosine { Projection::Unit } else { Projection::None };
    if metric == Metric::Cosine {
        check_directions("re-ranking", all)?;
    }
    let (n, d, values) = (all.rows(), all.cols(), projection.apply(all).values);
    let all = Matrix::new(&values, n, d)?;
    let depth = (options.k1 + 1).max(options.k2);
    let found = nearest(Metric::SquaredEuclidean, all, all, depth, Exclude::Nothing)?;
    let scales = inverse_of_largest(all)?;
    let vectors = encode(all, &found, &scales, options);
    let index = inverted(&vectors, gallery.clone());

    let slice = |range: Range<usize>| Matrix::new(&values[range.start * d..range.end * d], range.len(), d);
    let lists: Vec<Mutex<Vec<(f32, u32)>>> = (0..queries).map(|_| Mutex::default()).collect();
    for_each_score_row(Metric::SquaredEuclidean, slice(0..queries)?, slice(gallery.clone())?, |q, row| {
        let mut common = vec![0f32; row.len()];
        for &(column, weight) in &vectors[q] {
            index[column as usize].iter().for_each(|&(g, other)| common[g as usize] += weight.min(other));
        }
        let distance = |(g, &square): (usize, &f32)| {
            let jaccard = 1.0 - f64::from(common[g]) / (2.0 - f64::from(common[g]));
            let distance = (1.0 - options.lambda) * jaccard + options.lambda * f64::from(square) * scales[q];
            (distance as f32, g as u32)
        };
        let mut ranked: Vec<(f32, u32)> = row.iter().enumerate().map(distance).collect();
        ranked.retain(|&(_, g)| gallery.start + g as usize != q);
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if k < ranked.len() {
            ranked.select_nth_unstable_by(k - 1, order);
            ranked.truncate(k);
        }
        ranked.sort_unstable_by(order);
        *lists[q].lock().unwrap_or_else(PoisonError::into_inner) = ranked;
    })?;
    let lists = lists.into_iter().map(|list| list.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(Nearest::from_lists(lists.map(|list| list.into_iter().map(|(distance, g)| (g, distance)))))
}

fn check_options(metric: Metric, options: &KReciprocal, rows: usize) -> Result<()> {
    if !matches!(metric, Metric::Cosine | Metric::Euclidean | Metric::SquaredEuclidean) {
        return Err(Error::Input(format!(
            "re-ranking by the metric {metric}: it is defined for cosine, euclidean and squared_euclidean"
        )));
    }
    for (name, k) in [("k1", options.k1), ("k2", options.k2)] {
        if k == 0 || k >= rows {
            return Err(Error::Input(format!(
                "re-ranking with {name} = {k} of {rows} rows, queries and gallery together: want 1 to {}",
                rows - 1
            )));
        }
    }
    if !(0.0..=1.0).contains(&options.lambda) {
        return Err(Error::Input(format!("re-ranking with lambda {}: want 0 to 1", options.lambda)));
    }
    Ok(())
}

/// One over the largest squared distance of each row; 0 where all rows are the same.
fn inverse_of_largest(all: Matrix<'_>) -> Result<Vec<f64>> {
    let largest: Vec<Mutex<f32>> = (0..all.rows()).map(|_| Mutex::new(0.0)).collect();
    for_each_score_row(Metric::SquaredEuclidean, all, all, |i, row| {
        *largest[i].lock().unwrap_or_else(PoisonError::into_inner) = row.iter().copied().fold(0.0, f32::max);
    })?;
    let inverse = |(row, largest): (usize, Mutex<f32>)| match largest
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        0.0 => Ok(0.0),
        f32::INFINITY => Err(Error::Input(format!(
            "re-ranking: a squared distance of row {row}, queries first, is too large for 32 bits: scale the embeddings down"
        ))),
        largest => Ok(1.0 / f64::from(largest)),
    };
    largest.into_iter().enumerate().map(inverse).collect()
}

/// R(i, k), ascending.
fn reciprocal(found: &Nearest, i: usize, k: usize) -> Vec<u32> {
    let near = |i: usize| found.ids_of(i).iter().take(k + 1);
    let mut rows: Vec<u32> = near(i).copied().filter(|&j| near(j as usize).any(|&b| b as usize == i)).collect();
    rows.sort_unstable();
    rows
}

/// V of every row: (row, weight), ascending by row.
fn encode(all: Matrix<'_>, found: &Nearest, scales: &[f64], options: &KReciprocal) -> Vec<Vec<(u32, f32)>> {
    let n = all.rows();
    let half = (options.k1 as f64 / 2.0).round_ties_even() as usize;
    let halves: Vec<Vec<u32>> = (0..n).into_par_iter().map(|i| reciprocal(found, i, half)).collect();
    let weigh = |i: usize| {
        let core = reciprocal(found, i, options.k1);
        let mut rows = core.clone();
        for candidate in core.iter().map(|&j| &halves[j as usize]) {
            let common = candidate.iter().filter(|&j| core.binary_search(j).is_ok()).count();
            if 3 * common > 2 * candidate.len() {
                rows.extend(candidate);
            }
        }
        rows.sort_unstable();
        rows.dedup();
        let weight =
            |&j: &u32| (-pair_distance(Metric::SquaredEuclidean, all.row(i), all.row(j as usize)) * scales[i]).exp();
        let weights: Vec<f64> = rows.iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        rows.into_iter().zip(weights.into_iter().map(|w| (w / sum) as f32)).collect()
    };
    let vectors: Vec<Vec<(u32, f32)>> = (0..n).into_par_iter().map(weigh).collect();
    if options.k2 == 1 {
        return vectors;
    }
    let share = 1.0 / options.k2 as f32;
    let average = |i: usize| {
        let near = found.ids_of(i).iter().take(options.k2);
        let mut entries: Vec<(u32, f32)> = near.flat_map(|&j| vectors[j as usize].iter().copied()).collect();
        // Stable: weights of one column are added in the order of the neighbours.
        entries.sort_by_key(|entry| entry.0);
        let mut merged: Vec<(u32, f32)> = Vec::with_capacity(entries.len());
        for (column, weight) in entries {
            match merged.last_mut() {
                Some(last) if last.0 == column => last.1 += weight * share,
                _ => merged.push((column, weight * share)),
            }
        }
        merged
    };
    (0..n).into_par_iter().map(average).collect()
}

/// For each column the gallery's rows (counted from its first) that have it, with their weights.
fn inverted(vectors: &[Vec<(u32, f32)>], gallery: Range<usize>) -> Vec<Vec<(u32, f32)>> {
    let mut index = vec![Vec::new(); vectors.len()];
    for (g, vector) in vectors[gallery].iter().enumerate() {
        vector.iter().for_each(|&(column, weight)| index[column as usize].push((g as u32, weight)));
    }
    index
}
