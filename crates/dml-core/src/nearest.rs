//! Exact search: tiled products with the selection in between, so that no score is stored.

use crate::best::Best;
use crate::head_start::guesses;
use crate::reaching::reaching;
use crate::scores::Side;
use crate::tiles::{Buffer, COLUMNS, ROWS, Watch, block_pairs, blocks, closeness, is_symmetric, run, turn, unwatched};
use crate::{Error, Exclude, Matrix, Metric, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// Begins where the last neighbours in `gallery` most likely are; then [`Self::short`] says where they are not. Whether it
    /// does.
    fn begin_near(&mut self, gallery: Matrix<'_>) -> bool {
        let Some(guesses) = guesses(self.metric, (&self.queries, self.rows), gallery, self.k) else { return false };
        let lists = guesses.chunks(ROWS).map(|block| Mutex::new(block.iter().copied().map(Best::from).collect()));
        self.lists = lists.collect();
        true
    }

    /// Queries with fewer than `k` neighbours.
    fn short(&self) -> Vec<usize> {
        let blocks = (0..self.lists.len()).flat_map(|block| {
            let lists = self.lock(block);
            let short = (0..lists.len()).filter(|&i| lists[i].len(self.k) < self.k);
            short.map(|i| block * ROWS + i).collect::<Vec<_>>()
        });
        blocks.collect()
    }

    /// Takes what another search has found for some of the queries.
    fn replace(&self, queries: &[usize], found: NearestSearch<'_>) {
        for (&q, list) in queries.iter().zip(found.into_lists()) {
            self.lock(q / ROWS)[q % ROWS] = list;
        }
    }

    fn into_lists(self) -> impl Iterator<Item = Best> {
        self.lists.into_iter().flat_map(|block| block.into_inner().unwrap_or_else(PoisonError::into_inner))
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
            let (metric, side) = (self.metric, Side::new(self.metric, part));
            let seen = self.seen;
            self.add_blocks(seen..seen + part.rows(), watch, |queries, columns, buffer| {
                closeness(metric, queries, (&side, columns.start - seen..columns.end - seen), buffer)
            })?;
        }
        Ok(())
    }

    /// The rows of the gallery with these ids; `closeness` of some queries to some of these, and how far apart its rows are.
    pub(crate) fn add_blocks(
        &mut self,
        ids: Range<usize>,
        watch: Watch<'_>,
        closeness: impl for<'b> Fn((&Side<'_, f32>, Range<usize>), Range<usize>, &'b mut Buffer) -> (&'b mut [f32], usize)
        + Sync,
    ) -> Result<()> {
        let columns = blocks(ids.len(), COLUMNS).map(|block| ids.start + block.start..ids.start + block.end);
        // A block of the gallery meets all queries while it is in the cache.
        let tasks: Vec<_> = columns.flat_map(|c| blocks(self.rows, ROWS).map(move |r| (r, c.clone()))).collect();
        let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
        self.scored = run(&tasks, size, watch, self.scored, |(rows, columns), buffer| {
            let (scores, stride) = closeness((&self.queries, rows.clone()), columns.clone(), buffer);
            self.offer_tile(rows, columns.start, scores, (stride, columns.len()));
        })?;
        self.seen = ids.end;
        Ok(())
    }

    /// The queries themselves as the gallery: half of the products.
    fn add_queries(&mut self, watch: Watch<'_>) -> Result<()> {
        let tasks = block_pairs(self.rows, ROWS);
        let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
        self.scored = run(&tasks, size, watch, 0, |(rows, columns), buffer| {
            let (queries, gallery) = ((&self.queries, rows.clone()), (&self.queries, columns.clone()));
            let mut turned = std::mem::take(&mut buffer.turned);
            let (scores, stride) = closeness(self.metric, queries, gallery, buffer);
            self.offer_tile(rows, columns.start, scores, (stride, columns.len()));
            if rows != columns {
                // Turned, each list takes what it gets in one go, as the others do.
                turn(scores, stride, (rows.len(), columns.len()), &mut turned);
                self.offer_tile(columns, rows.start, &turned, (rows.len(), rows.len()));
            }
            buffer.turned = turned;
        })?;
        self.seen += self.rows;
        Ok(())
    }

    /// Offers gallery rows `first..` to a block of queries: rows of closeness, `stride` apart and `width` long.
    fn offer_tile(&self, queries: &Range<usize>, first: usize, scores: &[f32], (stride, width): (usize, usize)) {
        let (mut lists, mut hits) = (self.lock(queries.start / ROWS), [0; COLUMNS]);
        for ((list, q), row) in lists.iter_mut().zip(queries.clone()).zip(scores.chunks_exact(stride)) {
            self.offer(list, q, first as u32, &row[..width], &mut hits);
        }
    }

    /// Offers the closeness of gallery rows `first..` to query `q`.
    fn offer(&self, list: &mut Best, q: usize, first: u32, row: &[f32], hits: &mut [u32; COLUMNS]) {
        let count = reaching(row, list.floor(), hits);
        for &j in &hits[..count] {
            let id = first + j;
            if !self.exclude.excludes(q, id) {
                let _ = list.offer(self.k, row[j as usize], id);
            }
        }
    }

    /// What has been found.
    pub fn finish(self) -> Nearest {
        let (k, sign) = (self.k, if self.metric.is_similarity() { 1.0 } else { -1.0 });
        let lists: Vec<Best> = self.into_lists().collect();
        let mut starts = vec![0];
        starts.extend(lists.iter().scan(0, |end, list| {
            *end += list.len(k);
            Some(*end)
        }));
        let total = starts.last().copied().unwrap_or(0);
        let (mut ids, mut scores) = (vec![0; total], vec![0.0; total]);
        let (mut id_rest, mut score_rest) = (&mut ids[..], &mut scores[..]);
        let mut places = Vec::with_capacity(lists.len());
        for list in lists {
            let (ids, scores);
            (ids, id_rest) = id_rest.split_at_mut(list.len(k));
            (scores, score_rest) = score_rest.split_at_mut(list.len(k));
            places.push((list, ids, scores));
        }
        places.into_par_iter().for_each(|(list, ids, scores)| {
            for ((closeness, id), (to_id, to_score)) in list.sorted(k).zip(ids.iter_mut().zip(scores)) {
                (*to_id, *to_score) = (id, sign * closeness);
            }
        });
        Nearest { starts, ids, scores }
    }
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
    exclude.check_length(k, queries.rows(), gallery.rows())?;
    let mut search = NearestSearch::new(metric, queries, k, exclude);
    if k == 0 {
        return Ok(search.finish());
    }
    let same = std::ptr::eq(queries.data(), gallery.data()) && queries.rows() == gallery.rows();
    let guessed = search.begin_near(gallery);
    if same && is_symmetric(metric) {
        search.add_queries(watch)?
    } else {
        search.add(gallery, watch)?
    }
    let short = if guessed { search.short() } else { Vec::new() };
    if !short.is_empty() {
        let values: Vec<f32> = short.iter().flat_map(|&q| queries.row(q)).copied().collect();
        let asked = Matrix::new(&values, short.len(), queries.cols())?;
        let excludes = |q: usize, id: u32| exclude.excludes(short[q], id);
        let mut again = NearestSearch::new(metric, asked, k, Exclude::Where(&excludes));
        let before = search.scored;
        again.add(gallery, &|scored| watch(before + scored))?;
        search.replace(&short, again);
    }
    Ok(search.finish())
}
