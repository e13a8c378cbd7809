//! The nearest of a gallery for each of many queries.
//!
//! | index | what it costs | what it finds |
//! |---|---|---|
//! | [`Exact`], or the function [`search()`] | a product with every gallery row; the gallery may lie in a file larger than the memory | the nearest |
//! | `Approximate` (feature `ann`) | building a graph once, then a walk per query; the gallery is held in memory | most of the nearest; [`recall_against`] says how many |
//!
//! Both are an [`Index`], give the same scores to the same pairs, and refuse the same requests with the same words.
//! Measures of this crate search exactly. For the queries of one evaluation an approximate index seldom pays below 100,000
//! gallery rows: building it costs more than it saves.

#[cfg(feature = "ann")]
mod approximate;
mod exact;
mod recall;

#[cfg(feature = "ann")]
pub use approximate::{Approximate, ApproximateOptions};
pub use exact::{Exact, search};
pub use recall::{Recall, recall_against};

use crate::input::Vectors;
use crate::{Error, Result};
use dml_core::{Exclude, Metric, Nearest, Watch};
use std::ops::Range;

/// A gallery `[n, d]` that is asked for the nearest of its rows.
pub trait Index: Sync {
    /// How a query and a gallery row are compared.
    fn metric(&self) -> Metric;

    /// Number of gallery rows, n.
    fn rows(&self) -> usize;

    /// Length of a vector, d.
    fn dim(&self) -> usize;

    /// The `k` nearest gallery rows for each of `queries` (`[q, d]`), best first, equal scores by the smaller row; fewer where
    /// exclusions leave fewer. The answer depends neither on the number of threads nor on which queries are asked together.
    ///
    /// `watch` is told how many of the `q·n` pairs are dealt with, and can break off ([`dml_core::Error::Cancelled`]).
    ///
    /// # Errors
    /// When vectors differ in length, hold what is not finite or cannot be read; when `k` is 0 or more than the gallery has to
    /// give; when exclusions are not one per query.
    fn search(&self, queries: &dyn Vectors, k: usize, exclude: Exclude<'_>, watch: Watch<'_>) -> Result<Nearest>;
}

/// Numbers of a gallery block (64 MiB), and of a block of queries.
const BLOCK: usize = 1 << 24;

/// Refuses what no index can answer; what is not finite shows when it is read.
fn check(index: &dyn Index, queries: &dyn Vectors, k: usize, exclude: Exclude<'_>) -> Result<()> {
    if queries.dim() != index.dim() {
        return Err(Error::Input(format!(
            "queries have length {} but the gallery {}: embed both with the same model",
            queries.dim(),
            index.dim()
        )));
    }
    let available = index.rows().saturating_sub(at_most_one(exclude));
    if k == 0 || k > available {
        return Err(Error::Input(format!(
            "k = {k} neighbours were asked for but the gallery has {available} to give: want 1 to {available}"
        )));
    }
    Ok(exclude.check(queries.rows(), index.rows())?)
}

/// 1 where a query leaves out one gallery row, 0 where it leaves out none or nobody knows how many.
fn at_most_one(exclude: Exclude<'_>) -> usize {
    usize::from(matches!(exclude, Exclude::SelfIndex | Exclude::Ids(_)))
}

/// Ranges of rows that have about so many numbers.
fn blocks(vectors: &dyn Vectors, numbers: usize) -> impl Iterator<Item = Range<usize>> {
    let (rows, step) = (vectors.rows(), (numbers / vectors.dim().max(1)).max(1));
    (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
}
