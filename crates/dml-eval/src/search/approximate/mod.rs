//! Approximate search: a graph of near neighbours, walked from far to near.
//!
//! Malkov and Yashunin, *Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
//! graphs*, 2018, as usearch builds it. The graph only names candidates: their scores are taken by the kernel of exact search.

mod file;
mod options;
mod slots;

pub use options::ApproximateOptions;

use super::{BLOCK, Index, at_most_one, blocks, check};
use crate::finite::check_finite;
use crate::input::Vectors;
use crate::{Error, Result};
use dml_core::{Exclude, Matrix, Metric, Nearest, NearestSearch, Watch, unwatched};
use rayon::prelude::*;
use slots::Slots;
use std::sync::atomic::{AtomicUsize, Ordering};
use usearch::{IndexOptions, MetricKind, ScalarKind};

/// An HNSW graph over a gallery. It holds the gallery's vectors as `f32`, `4·n·d` bytes, and needs the gallery no more.
///
/// Of the [`expansion_search`](ApproximateOptions::expansion_search) candidates that a walk ends with, those that are not excluded
/// are scored as exact search scores them. Where fewer than `k` are left, the walk is taken again with twice as many candidates;
/// from a quarter of the gallery on, all rows are scored instead. So a query always gets as many neighbours as from
/// [`Exact`](super::Exact), and an index of few rows is exact.
///
/// Metrics are cosine, dot, Euclidean and squared Euclidean. Walks by dot product miss more: it is no distance, and long rows draw
/// all walks to them. Rows of equal length have no such trouble.
pub struct Approximate {
    graph: usearch::Index,
    metric: Metric,
    options: ApproximateOptions,
    slots: Slots,
}

impl Approximate {
    /// The graph of the rows of `gallery` (`[n, d]`), read block by block. On one thread, which is the default, the same rows and
    /// options give the same graph.
    ///
    /// `watch` is told how many rows are in, and can break off ([`dml_core::Error::Cancelled`]).
    ///
    /// # Errors
    /// When the metric has no graph, an option is out of bounds, the gallery is empty, holds what is not finite, cannot be read,
    /// or does not fit in memory.
    pub fn build(metric: Metric, gallery: &dyn Vectors, options: ApproximateOptions, watch: Watch<'_>) -> Result<Self> {
        let (rows, d) = (gallery.rows(), gallery.dim());
        if rows == 0 || d == 0 {
            return Err(Error::Input(format!("a gallery of {rows} rows of length {d} has no index: embed something")));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::Input("the gallery has more than 4,294,967,295 rows: search it in parts".to_owned()));
        }
        let index = Self::empty(metric, d, rows, options)?;
        index.reserve(rows, options.threads)?;
        let added = AtomicUsize::new(0);
        for part in blocks(gallery, BLOCK) {
            let values = gallery.block(part.clone())?;
            let block = Matrix::new(&values, part.len(), d)?;
            check_finite("gallery row", block, part.start)?;
            (0..options.threads).into_par_iter().try_for_each(|thread| {
                (thread..part.len()).step_by(options.threads).try_for_each(|i| {
                    index.graph.add((part.start + i) as u64, block.row(i)).map_err(failed)?;
                    go_on(watch, added.fetch_add(1, Ordering::Relaxed) + 1)
                })
            })?;
        }
        index.reserve(rows, searchers())?;
        Ok(index)
    }

    /// The same index, which keeps so many candidates per search.
    ///
    /// # Errors
    /// When they are none.
    pub fn with_expansion_search(mut self, candidates: usize) -> Result<Self> {
        self.options.expansion_search = candidates;
        self.options.check()?;
        Ok(self)
    }

    /// How it was built, and is walked.
    pub fn options(&self) -> ApproximateOptions {
        self.options
    }

    /// A graph without rows.
    fn empty(metric: Metric, d: usize, rows: usize, options: ApproximateOptions) -> Result<Self> {
        options.check()?;
        let graph = usearch::Index::new(&IndexOptions {
            dimensions: d,
            metric: kind(metric)?,
            quantization: ScalarKind::F32,
            connectivity: options.connectivity,
            // More than there are rows would only take memory.
            expansion_add: options.expansion_add.min(rows),
            // Walks name their own number.
            expansion_search: 1,
            multi: false,
        });
        Ok(Self { graph: graph.map_err(failed)?, metric, options, slots: Slots::new(searchers()) })
    }

    fn reserve(&self, rows: usize, threads: usize) -> Result<()> {
        self.graph.reserve_capacity_and_threads(rows, threads).map_err(failed)
    }

    /// The nearest of one query, as the graph finds them.
    fn walk(
        &self,
        query: Matrix<'_>,
        k: usize,
        spare: usize,
        excluded: &(dyn Fn(u32) -> bool + Sync),
    ) -> Result<Found> {
        let mut count = (k + spare).max(self.options.expansion_search);
        // Longer walks than this cost more than to score every row.
        while count <= self.rows() / 4 {
            let near = self.slots.with(|| self.graph.search(query.data(), count)).map_err(failed)?;
            let mut ids: Vec<u32> = near.keys.iter().map(|&id| id as u32).filter(|&id| !excluded(id)).collect();
            if ids.len() >= k {
                // The kernel breaks ties by position.
                ids.sort_unstable();
                let found = self.nearest_of(query, k, [&ids], Exclude::Nothing)?;
                return Ok(found.into_iter().map(|(at, score)| (ids[at as usize], score)).collect());
            }
            count *= 2;
        }
        let step = (BLOCK / 16 / self.dim()).max(1);
        let all =
            (0..self.rows()).step_by(step).map(|at| Vec::from_iter(at as u32..(at + step).min(self.rows()) as u32));
        self.nearest_of(query, k, all, Exclude::Where(&|_, id| excluded(id)))
    }

    /// The nearest of parts of the gallery, as positions in them, one part after the other.
    fn nearest_of(
        &self,
        query: Matrix<'_>,
        k: usize,
        parts: impl IntoIterator<Item = impl AsRef<[u32]>>,
        exclude: Exclude<'_>,
    ) -> Result<Found> {
        let mut search = NearestSearch::new(self.metric, query, k, exclude);
        let mut values = Vec::new();
        for part in parts {
            let ids = part.as_ref();
            values.resize(ids.len() * self.dim(), 0.0);
            for (&id, row) in ids.iter().zip(values.chunks_exact_mut(self.dim())) {
                if self.graph.get(u64::from(id), row).map_err(failed)? != 1 {
                    return Err(Error::Index(format!("gallery row {id} is not in the graph: build it again")));
                }
            }
            search.add(Matrix::new(&values, ids.len(), self.dim())?, &unwatched)?;
        }
        let found = search.finish();
        Ok(found.ids().iter().copied().zip(found.scores().iter().copied()).collect())
    }
}

/// Rows and their scores, best first.
type Found = Vec<(u32, f32)>;

impl Index for Approximate {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn rows(&self) -> usize {
        self.graph.size()
    }

    fn dim(&self) -> usize {
        self.graph.dimensions()
    }

    fn search(&self, queries: &dyn Vectors, k: usize, exclude: Exclude<'_>, watch: Watch<'_>) -> Result<Nearest> {
        check(self, queries, k, exclude)?;
        let mut lists = Vec::with_capacity(queries.rows());
        let asked = AtomicUsize::new(0);
        for part in blocks(queries, BLOCK) {
            let values = queries.block(part.clone())?;
            let block = Matrix::new(&values, part.len(), self.dim())?;
            check_finite("query", block, part.start)?;
            let found: Result<Vec<Found>> = part
                .clone()
                .into_par_iter()
                .map(|q| {
                    let query = Matrix::new(block.row(q - part.start), 1, self.dim())?;
                    let found = self.walk(query, k, at_most_one(exclude), &|id| exclude.excludes(q, id))?;
                    go_on(watch, (asked.fetch_add(1, Ordering::Relaxed) + 1) * self.rows())?;
                    Ok(found)
                })
                .collect();
            lists.extend(found?);
        }
        Ok(Nearest::from_lists(lists))
    }
}

/// Threads that search at once.
fn searchers() -> usize {
    rayon::current_num_threads()
}

fn go_on(watch: Watch<'_>, count: usize) -> Result<()> {
    if watch(count).is_break() { Err(dml_core::Error::Cancelled.into()) } else { Ok(()) }
}

/// The graph library's name of a metric. Roots do not change who is near.
fn kind(metric: Metric) -> Result<MetricKind> {
    match metric {
        Metric::Cosine => Ok(MetricKind::Cos),
        Metric::Dot => Ok(MetricKind::IP),
        Metric::Euclidean | Metric::SquaredEuclidean => Ok(MetricKind::L2sq),
        _ => Err(Error::Input(format!(
            "metric {metric} has no approximate index: take cosine, dot, euclidean or squared_euclidean, or search exactly"
        ))),
    }
}

/// What the graph library said.
fn failed(why: impl std::fmt::Display) -> Error {
    Error::Index(format!("{why}: is there enough memory for the gallery and its graph?"))
}
