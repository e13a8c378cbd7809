//! An approximate index beside a gallery's file.
//!
//! A graph names candidates of the rows that were there when it was built; the kernel of every gallery scores them, and the rows
//! enrolled since, so scores are the same bits as without it. It lies in a file of its own, whose name the gallery knows: a file
//! of another gallery is never taken for it.

use super::{FileGallery, store::Settings};
use crate::roster::{Found, Roster};
use crate::{Error, Filter, Result};
use dml_core::{Matrix, Metric, Nearest, Watch};
use dml_eval::search::{Approximate, ApproximateOptions, Index as _};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// What a gallery knows of the index beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Part of the file's name.
    token: u64,
    /// Rows that it is of.
    rows: usize,
    /// [`Roster::revision`] of these.
    revision: u64,
    options: ApproximateOptions,
}

/// An index as it is in memory.
pub(super) struct Graph {
    stamp: Stamp,
    index: Approximate,
}

/// The state of the index beside a gallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// There is none: searches are exact.
    None,
    /// It is searched; so many rows enrolled since are searched exactly.
    Used {
        /// Rows that it is of.
        rows: usize,
        /// Rows enrolled since.
        later: usize,
    },
    /// Somebody who was there has changed or was removed, or its file is gone or damaged: searches are exact until
    /// [`refresh`](crate::Gallery::refresh) has built it again.
    Stale,
}

/// How well an index does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexReport {
    /// Rows that it is of.
    pub rows: usize,
    /// Rows of the gallery that were asked for their neighbours, some from everywhere.
    pub asked: usize,
    /// Neighbours that each was asked for, itself among them.
    pub k: usize,
    /// The share of the nearest that was found.
    pub recall: f64,
}

impl FileGallery {
    /// Builds an approximate index of who is enrolled, in the place of the one before, and says how well it does. From then on
    /// [`nearest`](crate::Gallery::nearest) and [`identify`](crate::Gallery::identify) ask it, where no filter is given. Those who
    /// are enrolled later are searched exactly beside it; once somebody who was there is changed or removed, it is erased, and
    /// searches are exact until it is built again. The gallery can be used meanwhile.
    ///
    /// `watch` is told how many rows are in, and can break off.
    ///
    /// # Errors
    /// When nobody is enrolled, the metric has no index (cosine, dot, Euclidean and squared Euclidean have), an option is out of
    /// bounds, somebody who was there is changed meanwhile, or the file cannot be written.
    pub fn build_index(&self, options: ApproximateOptions, watch: Watch<'_>) -> Result<IndexReport> {
        let (values, rows, revision) = {
            let roster = self.read();
            let rows = roster.rows.rows();
            let values: Vec<f32> = (0..rows).flat_map(|row| roster.rows.row(row)).collect();
            (values, rows, roster.revision)
        };
        let matrix = Matrix::new(&values, rows, self.model.dim)?;
        let index = Approximate::build(walked(self.model.metric), &matrix, options, watch)?;
        let stamp = Stamp { token: RandomState::new().hash_one(rows), rows, revision, options };
        let path = self.index_path(stamp);
        index.save(&path)?;
        let mut settings = self.lock();
        if self.read().revision != revision {
            let _ = fs::remove_file(path);
            return Err(Error::Input(
                "somebody was changed or removed while the index was built: build it again".to_owned(),
            ));
        }
        let new = Settings { index: Some(stamp), ..settings.clone() };
        self.store().write_settings(&new)?;
        self.remove_index(&settings);
        *settings = new;
        let graph = Arc::new(Graph { stamp, index });
        *self.graph.write().unwrap_or_else(PoisonError::into_inner) = Some(graph.clone());
        drop(settings);
        self.measure(&graph, matrix)
    }

    /// Builds the index anew, with the options that it had, where it is stale or a quarter of it was enrolled later.
    pub(super) fn refresh_index(&self, watch: Watch<'_>) -> Result<bool> {
        let Some(stamp) = self.lock().index else { return Ok(false) };
        let stale = match self.index() {
            IndexState::None => false,
            IndexState::Used { rows, later } => later > rows / 4,
            IndexState::Stale => self.read().rows.rows() > 0,
        };
        if stale {
            self.build_index(stamp.options, watch)?;
        }
        Ok(stale)
    }

    /// Forgets the index: searches are exact.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn drop_index(&self) -> Result<()> {
        let mut settings = self.lock();
        let new = Settings { index: None, ..settings.clone() };
        self.store().write_settings(&new)?;
        *self.graph.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.remove_index(&settings);
        *settings = new;
        Ok(())
    }

    /// The state of the index.
    pub fn index(&self) -> IndexState {
        let wanted = self.lock().index.is_some();
        match self.graph() {
            Some(graph) => {
                IndexState::Used { rows: graph.stamp.rows, later: self.read().rows.rows() - graph.stamp.rows }
            }
            None if wanted => IndexState::Stale,
            None => IndexState::None,
        }
    }

    /// The index that the settings name, if it is there and of these rows.
    pub(super) fn open_index(&self, settings: &Settings) {
        let Some(stamp) = settings.index else { return };
        if stamp.revision != settings.revision {
            // A process ended between a removal and this.
            return self.remove_index(settings);
        }
        let opened = Approximate::open(self.index_path(stamp), walked(self.model.metric), self.model.dim);
        let graph = opened.ok().filter(|index| index.rows() == stamp.rows).map(|index| Graph { stamp, index });
        *self.graph.write().unwrap_or_else(PoisonError::into_inner) = graph.map(Arc::new);
    }

    /// Lets go of the index when it is no longer of the rows that are here.
    pub(super) fn check_index(&self, settings: &Settings) {
        if settings.index.is_some_and(|stamp| stamp.revision != settings.revision) {
            *self.graph.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.remove_index(settings);
        }
    }

    fn remove_index(&self, settings: &Settings) {
        if let Some(stamp) = settings.index {
            let _ = fs::remove_file(self.index_path(stamp));
        }
    }

    fn index_path(&self, stamp: Stamp) -> PathBuf {
        PathBuf::from(format!("{}.{:016x}.index", self.path.display(), stamp.token))
    }

    fn graph(&self) -> Option<Arc<Graph>> {
        self.graph.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the index finds, if it is to be asked.
    pub(super) fn nearest_by_graph(
        &self,
        roster: &Roster,
        probes: Matrix<'_>,
        k: usize,
        filter: &Filter,
    ) -> Option<Result<Vec<Vec<Found>>>> {
        let graph = self.graph().filter(|graph| filter.is_everybody() && graph.stamp.revision == roster.revision)?;
        Some(roster.nearest_by(probes, k, filter, &|probes, length, _| graph.nearest(roster, probes, length)))
    }

    /// The recall of an index, on rows of its gallery.
    fn measure(&self, graph: &Graph, rows: Matrix<'_>) -> Result<IndexReport> {
        /// Rows that are asked for.
        const ASKED: usize = 500;
        let (count, d) = (rows.rows(), rows.cols());
        let (asked, k) = (count.min(ASKED), count.min(10));
        let probes: Vec<f32> = (0..asked).flat_map(|i| rows.row(i * count / asked)).copied().collect();
        let probes = Matrix::new(&probes, asked, d)?;
        let roster = self.read();
        let exact = roster.rows.nearest(0..count, probes, k, dml_core::Exclude::Nothing)?;
        let found = graph.nearest_indexed(&roster, probes, k)?;
        let recall = dml_eval::search::recall_against(&exact, &Nearest::from_lists(found), k)?;
        Ok(IndexReport { rows: count, asked, k, recall: recall.mean })
    }
}

impl Graph {
    /// The nearest rows for each probe, as it is compared: of those of the index by the index, of those later all.
    fn nearest(&self, roster: &Roster, probes: Matrix<'_>, length: usize) -> Result<Nearest> {
        let (indexed, all) = (self.stamp.rows, roster.rows.rows());
        let mut lists = self.nearest_indexed(roster, probes, length.min(indexed))?;
        if all > indexed {
            let later =
                roster.rows.nearest(indexed..all, probes, length.min(all - indexed), dml_core::Exclude::Nothing)?;
            for (q, list) in lists.iter_mut().enumerate() {
                list.extend(later.ids_of(q).iter().copied().zip(later.scores_of(q).iter().copied()));
                in_order(roster, list, length);
            }
        }
        Ok(Nearest::from_lists(lists))
    }

    fn nearest_indexed(&self, roster: &Roster, probes: Matrix<'_>, length: usize) -> Result<Vec<Vec<Found>>> {
        let named = self.index.search(&probes, length, dml_core::Exclude::Nothing, &dml_core::unwatched)?;
        let scored = |q: usize| {
            let probe = Matrix::new(probes.row(q), 1, probes.cols())?;
            let score = |&row: &u32| Ok((row, roster.rows.scores(probe, row as usize..row as usize + 1)?[0]));
            let mut list: Vec<Found> = named.ids_of(q).iter().map(score).collect::<Result<_>>()?;
            in_order(roster, &mut list, length);
            Ok(list)
        };
        (0..probes.rows()).into_par_iter().map(scored).collect()
    }
}

/// The best so many, best first, equal scores by the smaller row.
fn in_order(roster: &Roster, list: &mut Vec<Found>, length: usize) {
    let sign = if roster.model.metric.is_similarity() { -1.0 } else { 1.0 };
    list.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.cmp(&b.0)));
    list.truncate(length);
}

/// What a graph is walked by: rows of unit length are in the same order by their distance, which takes less.
fn walked(metric: Metric) -> Metric {
    if metric == Metric::Cosine { Metric::SquaredEuclidean } else { metric }
}
