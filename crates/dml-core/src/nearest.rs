//! Exact search: tiled products with the selection in between, so that no score is stored.

use crate::best::Best;
use crate::scores::Side;
use crate::tiles::{COLUMNS, ROWS, Watch, block_pairs, blocks, closeness, is_symmetric, run, unwatched};
use crate::vector::widest;
use crate::{Error, Matrix, Metric, Result};
use rayon::prelude::*;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a query must not find.
#[derive(Clone, Copy)]
pub enum Exclude<'a> {
    /// Nothing is left out.
    Nothing,
    /// Query `i` is gallery row `i` and does not find itself.
    SelfIndex,
    /// One gallery row per query is left out; `u32::MAX` leaves out none.
    Ids(&'a [u32]),
    /// Gallery rows of the query's own group (sequence, camera) are left out.
    Groups {
        /// Group of each query.
        queries: &'a [u32],
        /// Group of each gallery row.
        gallery: &'a [u32],
    },
    /// Whatever pairs (query, gallery row) it is true for.
    Where(&'a (dyn Fn(usize, u32) -> bool + Sync)),
}

impl fmt::Debug for Exclude<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::SelfIndex => "SelfIndex",
            Self::Ids(_) => "Ids",
            Self::Groups { .. } => "Groups",
            Self::Where(_) => "Where",
        })
    }
}

impl Exclude<'_> {
    /// Whether this query must not find this gallery row.
    #[inline(always)]
    pub fn excludes(self, query: usize, id: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::SelfIndex => query == id as usize,
            Self::Ids(ids) => ids[query] == id,
            Self::Groups { queries, gallery } => queries[query] == gallery[id as usize],
            Self::Where(excludes) => excludes(query, id),
        }
    }

    /// Refuses exclusions that are not one per query, or per gallery row.
    ///
    /// # Errors
    /// As said.
    pub fn check(self, queries: usize, gallery: usize) -> Result<()> {
        match self {
            Self::Ids(ids) if ids.len() != queries => {
                Err(Error::Shape(format!("{} exclusions for {queries} queries: give one per query", ids.len())))
            }
            Self::SelfIndex if queries > gallery => Err(Error::Shape(format!(
                "{queries} queries exclude themselves from a gallery of {gallery}: they are not its rows"
            ))),
            Self::Groups { queries: q, gallery: g } if q.len() != queries || g.len() != gallery => {
                Err(Error::Shape(format!(
                    "groups of {} queries and {} gallery rows, but there are {queries} and {gallery}: give one for each",
                    q.len(),
                    g.len()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The nearest gallery rows of each query, best first, ties by smaller id; what is not a number comes last.
///
/// Each query has `k` of them, or all that it may find where they are fewer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearest {
    /// Where the neighbours of each query begin, and where those of the last one end: `[queries + 1]`.
    starts: Vec<usize>,
    ids: Vec<u32>,
    scores: Vec<f32>,
}

impl Nearest {
    /// Neighbours of queries, one list after the other: ids and scores.
    pub fn from_lists<I: IntoIterator<Item = (u32, f32)>>(lists: impl IntoIterator<Item = I>) -> Self {
        let mut found = Self { starts: vec![0], ..Self::default() };
        for list in lists {
            for (id, score) in list {
                found.ids.push(id);
                found.scores.push(score);
            }
            found.starts.push(found.ids.len());
        }
        found
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Neighbours of query `q`: gallery rows.
    pub fn ids_of(&self, q: usize) -> &[u32] {
        &self.ids[self.starts[q]..self.starts[q + 1]]
    }

    /// Their scores, as the metric reports them.
    pub fn scores_of(&self, q: usize) -> &[f32] {
        &self.scores[self.starts[q]..self.starts[q + 1]]
    }

    /// Neighbours of all queries, one list after the other.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Their scores.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}

/// A search that is given its gallery part by part: memory is `12·queries·k` bytes at most, and some blocks of scores.
pub struct NearestSearch<'a> {
    metric: Metric,
    k: usize,
    exclude: Exclude<'a>,
    queries: Side<'a, f32>,
    rows: usize,
    /// Of [`ROWS`] queries each.
    lists: Vec<Mutex<Vec<Best>>>,
    /// Gallery rows so far.
    seen: usize,
    scored: usize,
}

impl<'a> NearestSearch<'a> {
    /// A search of the `k` nearest rows of a gallery for each of `queries` (`[q, d]`).
    pub fn new(metric: Metric, queries: Matrix<'a>, k: usize, exclude: Exclude<'a>) -> Self {
        let list = |block: Range<usize>| Mutex::new(block.map(|_| Best::default()).collect());
        Self {
            metric,
            k,
            exclude,
            queries: Side::new(metric, queries),
            rows: queries.rows(),
            lists: blocks(queries.rows(), ROWS).map(list).collect(),
            seen: 0,
            scored: 0,
        }
    }

    fn lock(&self, block: usize) -> MutexGuard<'_, Vec<Best>> {
        self.lists[block].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next rows of the gallery, `[m, d]`; their ids go on from those before.
    ///
    /// # Errors
    /// When vectors differ in length, ids would not fit 32 bits, or `watch` breaks off; groups must be as long as the whole
    /// gallery ([`Exclude::check`]).
    pub fn add(&mut self, gallery: Matrix<'_>, watch: Watch<'_>) -> Result<()> {
        /// Rows of the gallery that are prepared at a time, in numbers.
        const PREPARED: usize = 1 << 24;
        if gallery.cols() != self.queries.cols {
            gallery.same_width(Matrix::from_parts(&[], 0, self.queries.cols))?;
        }
        if u32::try_from(self.seen + gallery.rows()).is_err() {
            return Err(Error::Shape("the gallery has more than 4,294,967,295 rows: search it in parts".to_owned()));
        }
        for part in blocks(gallery.rows(), (PREPARED / gallery.cols().max(1)).max(COLUMNS)) {
            let d = gallery.cols();
            let part = Matrix::from_parts(&gallery.data()[part.start * d..part.end * d], part.len(), d);
            let side = Side::new(self.metric, part);
            let columns = blocks(part.rows(), COLUMNS);
            // A block of the gallery meets all queries while it is in the cache.
            let tasks: Vec<_> = columns.flat_map(|c| blocks(self.rows, ROWS).map(move |r| (r, c.clone()))).collect();
            let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
            self.scored = run(&tasks, size, watch, self.scored, |(rows, columns), buffer| {
                let (queries, gallery) = ((&self.queries, rows.clone()), (&side, columns.clone()));
                let (scores, stride) = closeness(self.metric, queries, gallery, buffer);
                let mut lists = self.lock(rows.start / ROWS);
                let first = (self.seen + columns.start) as u32;
                for ((list, q), row) in lists.iter_mut().zip(rows.clone()).zip(scores.chunks_exact(stride)) {
                    self.offer(list, q, first, &row[..columns.len()]);
                }
            })?;
            self.seen += part.rows();
        }
        Ok(())
    }

    /// The queries themselves as the gallery: half of the products.
    fn add_queries(&mut self, watch: Watch<'_>) -> Result<()> {
        let tasks = block_pairs(self.rows, ROWS);
        let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
        run(&tasks, size, watch, 0, |(rows, columns), buffer| {
            let (queries, gallery) = ((&self.queries, rows.clone()), (&self.queries, columns.clone()));
            let (scores, stride) = closeness(self.metric, queries, gallery, buffer);
            let each = || scores.chunks_exact(stride).map(|row| &row[..columns.len()]).zip(rows.clone());
            let mut lists = self.lock(rows.start / ROWS);
            if rows == columns {
                for ((row, q), list) in each().zip(lists.iter_mut()) {
                    self.offer(list, q, columns.start as u32, row);
                }
                return;
            }
            let mut others = self.lock(columns.start / ROWS);
            let mut floors: Vec<f32> = others.iter().map(Best::floor).collect();
            for ((row, q), list) in each().zip(lists.iter_mut()) {
                self.offer_both(list, &mut others, &mut floors, q, columns.start, row);
            }
        })?;
        self.seen += self.rows;
        Ok(())
    }

    /// Offers the closeness of gallery rows `first..` to query `q`.
    fn offer(&self, list: &mut Best, q: usize, first: u32, row: &[f32]) {
        let (mut hits, floor) = ([0u32; COLUMNS], list.floor());
        let count = widest(
            #[inline(always)]
            || reaching(row, &mut hits, |_, s| s < floor),
        );
        for &j in &hits[..count] {
            let id = first + j;
            if !self.exclude.excludes(q, id) {
                let _ = list.offer(self.k, row[j as usize], id);
            }
        }
    }

    /// Offers the closeness of query `q` and queries `first..` to each other.
    fn offer_both(
        &self,
        list: &mut Best,
        others: &mut [Best],
        floors: &mut [f32],
        q: usize,
        first: usize,
        row: &[f32],
    ) {
        let (mut hits, floor) = ([0u32; COLUMNS], list.floor());
        let here = &floors[..row.len()];
        let count = widest(
            #[inline(always)]
            || reaching(row, &mut hits, |j, s| (s < floor) & (s < here[j])),
        );
        for &j in &hits[..count] {
            let j = j as usize;
            let (s, other) = (row[j], first + j);
            if !self.exclude.excludes(q, other as u32) {
                let _ = list.offer(self.k, s, other as u32);
            }
            if !self.exclude.excludes(other, q as u32) && others[j].offer(self.k, s, q as u32) {
                floors[j] = others[j].floor();
            }
        }
    }

    /// What has been found.
    pub fn finish(self) -> Nearest {
        let sign = if self.metric.is_similarity() { 1.0 } else { -1.0 };
        let mut found = Nearest { starts: vec![0], ..Nearest::default() };
        for block in self.lists {
            let block = block.into_inner().unwrap_or_else(PoisonError::into_inner);
            let lists: Vec<Vec<_>> = block.into_par_iter().map(|best| best.sorted(self.k).collect()).collect();
            for (closeness, id) in lists.iter().flatten() {
                found.ids.push(*id);
                found.scores.push(sign * closeness);
            }
            let mut end = *found.starts.last().unwrap_or(&0);
            found.starts.extend(lists.iter().map(|list| {
                end += list.len();
                end
            }));
        }
        found
    }
}

/// Puts the positions of a row's scores that are not `below` into `hits`; returns how many.
#[inline(always)]
pub(crate) fn reaching(row: &[f32], hits: &mut [u32; COLUMNS], below: impl Fn(usize, f32) -> bool) -> usize {
    /// Scores looked at together.
    const BLOCK: usize = 32;
    let mut count = 0;
    for (at, block) in row.chunks(BLOCK).enumerate() {
        let mut any = false;
        for (j, &s) in block.iter().enumerate() {
            any |= !below(at * BLOCK + j, s);
        }
        if any {
            // Written whether it counts or not: which one does cannot be foreseen.
            for (j, &s) in block.iter().enumerate() {
                hits[count] = (at * BLOCK + j) as u32;
                count += usize::from(!below(at * BLOCK + j, s));
            }
        }
    }
    count
}

/// The `k` nearest rows of `gallery` (`[m, d]`) for each row of `queries` (`[q, d]`).
///
/// Queries that are the gallery (the same memory) cost half of the products.
///
/// # Errors
/// When vectors differ in length, `k` is more than there is to find, or exclusions are not one per query.
pub fn nearest(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    k: usize,
    exclude: Exclude<'_>,
) -> Result<Nearest> {
    nearest_watched(metric, queries, gallery, k, exclude, &unwatched)
}

/// [`nearest`], watched.
///
/// # Errors
/// As [`nearest`], and when `watch` breaks off.
pub fn nearest_watched(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    k: usize,
    exclude: Exclude<'_>,
    watch: Watch<'_>,
) -> Result<Nearest> {
    queries.same_width(gallery)?;
    let available = match exclude {
        Exclude::SelfIndex | Exclude::Ids(_) => gallery.rows().saturating_sub(1),
        _ => gallery.rows(),
    };
    if k > available {
        return Err(Error::Shape(format!(
            "k = {k} neighbours were asked for but the gallery has {available} to give: lower k"
        )));
    }
    exclude.check(queries.rows(), gallery.rows())?;
    let mut search = NearestSearch::new(metric, queries, k, exclude);
    if k > 0 {
        let same = std::ptr::eq(queries.data(), gallery.data()) && queries.rows() == gallery.rows();
        if same && is_symmetric(metric) { search.add_queries(watch)? } else { search.add(gallery, watch)? }
    }
    Ok(search.finish())
}
