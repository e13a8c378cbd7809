//! Hubness: whether a few gallery rows are neighbours of everyone, and others of no one.
//!
//! `N_k(x)` is how many queries have x among their k nearest. Radovanović et al., *Hubs in Space*, 2010, §2; the shares and
//! the index follow Feldbauer et al., *Fast Approximate Hubness Reduction*, 2018.

use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::{Exclude, Matrix, Metric, Nearest, nearest};
use serde::{Deserialize, Serialize};

/// How unequally neighbourhoods are spread over the gallery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hubness {
    /// Neighbours per query; the longest list, where lists differ.
    pub k: usize,
    /// Queries that were looked at.
    pub queries: usize,
    /// Gallery rows.
    pub gallery: usize,
    /// Skewness of `N_k`, `E[(N − μ)³]/σ³` with divisor n; 0 where all are equal. Above about 1 there are hubs.
    pub skewness: f64,
    /// Largest `N_k`.
    pub largest: usize,
    /// Share of gallery rows with `N_k` of twice the mean or more (of 2k, where a set is searched in itself).
    pub hubs: f64,
    /// Share of all neighbours that are hubs.
    pub hub_occurrence: f64,
    /// Share of gallery rows that are no one's neighbour.
    pub antihubs: f64,
    /// Robin Hood index `½ Σ|N − μ| / ΣN`: the share of neighbourhoods that would have to move for all to be equal.
    pub robin_hood: f64,
}

/// Hubness of `embeddings` (`[n, d]`) searched in themselves, each row without itself.
///
/// # Errors
/// When there are fewer than two rows, a value is not finite, or k is 0 or more than n − 1.
pub fn hubness(metric: Metric, embeddings: Matrix<'_>, k: usize) -> Result<Hubness> {
    check_rows("hubness", embeddings, 2)?;
    let others = embeddings.rows() - 1;
    if k == 0 || k > others {
        return Err(Error::Input(format!("hubness by {k} neighbours of {others} others: want k of 1 to {others}")));
    }
    hubness_of(&nearest(metric, embeddings, embeddings, k, Exclude::SelfIndex)?, embeddings.rows())
}

/// Hubness of a search in a gallery of `gallery` rows.
///
/// # Errors
/// When nothing was found, or something that the gallery has not.
pub fn hubness_of(found: &Nearest, gallery: usize) -> Result<Hubness> {
    let counts = k_occurrences(found, gallery)?;
    let k = (0..found.queries()).map(|q| found.ids_of(q).len()).max().unwrap_or(0);
    let total = counts.iter().sum::<usize>() as f64;
    if total == 0.0 {
        return Err(Error::Input("hubness of no neighbours: search with k of 1 or more".to_owned()));
    }
    let n = gallery as f64;
    let mean = total / n;
    let moment = |power| counts.iter().map(|&c| (c as f64 - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    let is_hub = |&&c: &&usize| c as f64 >= 2.0 * mean;
    Ok(Hubness {
        k,
        queries: found.queries(),
        gallery,
        skewness: if variance > 0.0 { moment(3) / variance.powf(1.5) } else { 0.0 },
        largest: counts.iter().copied().max().unwrap_or(0),
        hubs: counts.iter().filter(is_hub).count() as f64 / n,
        hub_occurrence: counts.iter().filter(is_hub).sum::<usize>() as f64 / total,
        antihubs: counts.iter().filter(|&&c| c == 0).count() as f64 / n,
        robin_hood: 0.5 * counts.iter().map(|&c| (c as f64 - mean).abs()).sum::<f64>() / total,
    })
}

/// `N_k` of each gallery row: how many queries have it among their neighbours.
///
/// # Errors
/// When a neighbour is no gallery row.
pub fn k_occurrences(found: &Nearest, gallery: usize) -> Result<Vec<usize>> {
    let mut counts = vec![0usize; gallery];
    for q in 0..found.queries() {
        for &id in found.ids_of(q) {
            let count = counts.get_mut(id as usize);
            *count.ok_or_else(|| {
                Error::Input(format!("query {q} found row {id} of a gallery of {gallery}: pass the gallery searched"))
            })? += 1;
        }
    }
    Ok(counts)
}
