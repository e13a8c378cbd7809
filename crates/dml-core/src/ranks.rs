//! Where wanted gallery rows stand in the ranking of each query: counted in tiles, so that no ranking is stored or sorted.
//!
//! Every measure of retrieval follows from the ranks of the relevant items alone.

use crate::reaching::reaching;
use crate::scores::Side;
use crate::tiles::{COLUMNS, ROWS, Watch, block_pairs, blocks, closeness, is_symmetric, run, turn};
use crate::vector::widest;
use crate::{Error, Matrix, Metric, Result, tiles};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// How items with the same score as a wanted one stand to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// Before it when their id is smaller.
    #[default]
    ById,
    /// After it: ties favour the query.
    Optimistic,
    /// Before it, but for other wanted ones of larger id.
    Pessimistic,
}

/// Gives the gallery rows of a query that a question is about, by adding them to the list.
pub type RowsOf<'a> = &'a (dyn Fn(usize, &mut Vec<u32>) + Sync);

/// Ranks that are counted: what of which.
#[derive(Clone, Copy)]
pub struct RankQuestion<'a> {
    /// How rows are compared.
    pub metric: Metric,
    /// `[q, d]`.
    pub queries: Matrix<'a>,
    /// `[m, d]`; the same memory as `queries` costs half of the products.
    pub gallery: Matrix<'a>,
    /// The rows whose ranks are wanted.
    pub wanted: RowsOf<'a>,
    /// The rows that are not in the ranking: none of the wanted ones.
    pub excluded: RowsOf<'a>,
    /// Who is first among equals.
    pub ties: Ties,
}

/// The ranks of each query's wanted rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranks {
    starts: Vec<usize>,
    ranks: Vec<u32>,
    closeness: Vec<f32>,
}

impl Ranks {
    /// Ranks from 1, in the order in which the rows were wanted.
    pub fn of(&self, query: usize) -> &[u32] {
        &self.ranks[self.starts[query]..self.starts[query + 1]]
    }

    /// Their closeness: the score, negated where smaller is closer; −∞ where it is no number.
    pub fn closeness_of(&self, query: usize) -> &[f32] {
        &self.closeness[self.starts[query]..self.starts[query + 1]]
    }
}

/// Lists of gallery rows of some queries, with their closeness.
struct Listed {
    starts: Vec<usize>,
    ids: Vec<u32>,
    closeness: Vec<f32>,
}

impl Listed {
    fn new(queries: Range<usize>, gallery: usize, rows_of: RowsOf<'_>) -> Result<Self> {
        let mut lists: Vec<Vec<u32>> = Vec::new();
        let each = queries.into_par_iter().map(|q| {
            let mut list = Vec::new();
            rows_of(q, &mut list);
            list
        });
        each.collect_into_vec(&mut lists);
        let (mut starts, ids) = (vec![0], lists.concat());
        starts.extend(lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        if let Some(id) = ids.iter().find(|&&id| id as usize >= gallery) {
            return Err(Error::Shape(format!("gallery row {id} was asked for, but there are {gallery}")));
        }
        Ok(Self { starts, ids, closeness: Vec::new() })
    }

    fn ids(&self, i: usize) -> &[u32] {
        &self.ids[self.starts[i]..self.starts[i + 1]]
    }

    fn closeness(&self, i: usize) -> &[f32] {
        &self.closeness[self.starts[i]..self.starts[i + 1]]
    }

    /// The closeness of all of them, as the tiles have it to the bit.
    fn measure(&mut self, metric: Metric, queries: &Side<'_, f32>, first: usize, gallery: &Side<'_, f32>) {
        let count = self.starts.len() - 1;
        let of_block = |block: Range<usize>| {
            let ids = &self.ids[self.starts[block.start]..self.starts[block.end]];
            let mut rows = ids.to_vec();
            rows.sort_unstable();
            rows.dedup();
            let mut found = vec![0f32; ids.len()];
            let mut buffer = tiles::Buffer::default();
            for part in rows.chunks(COLUMNS) {
                let chosen = gallery.chosen(part);
                let asked = (queries, first + block.start..first + block.end);
                let (scores, stride) = closeness(metric, asked, (&chosen, 0..part.len()), &mut buffer);
                for i in block.clone() {
                    let at = self.starts[i] - self.starts[block.start];
                    for (slot, id) in found[at..].iter_mut().zip(self.ids(i)) {
                        if let Ok(column) = part.binary_search(id) {
                            *slot = scores[(i - block.start) * stride + column];
                        }
                    }
                }
            }
            found
        };
        let parts: Vec<Vec<f32>> = blocks(count, ROWS).collect::<Vec<_>>().into_par_iter().map(of_block).collect();
        self.closeness = parts.concat();
        // What is not a number stands after all numbers, and -0 is 0.
        self.closeness.iter_mut().for_each(|v| *v = if v.is_nan() { f32::NEG_INFINITY } else { *v + 0.0 });
    }
}

/// Counts the ranks of the wanted rows in the rankings of the queries.
///
/// # Errors
/// When vectors differ in length, a row is asked for that is not there, or `watch` breaks off.
pub fn ranks(question: &RankQuestion<'_>, watch: Watch<'_>) -> Result<Ranks> {
    /// Wanted rows at a time.
    const WANTED: usize = 1 << 26;
    let RankQuestion { metric, queries, gallery, wanted, excluded, ties } = *question;
    queries.same_width(gallery)?;
    let same = std::ptr::eq(queries.data(), gallery.data()) && queries.rows() == gallery.rows();
    let a = Side::new(metric, queries);
    let other = (!same).then(|| Side::new(metric, gallery));
    let b = other.as_ref().unwrap_or(&a);
    let mut found = Ranks { starts: vec![0], ranks: Vec::new(), closeness: Vec::new() };
    let (mut first, mut scored) = (0, 0);
    while first < queries.rows() {
        // All queries, unless so much is wanted that it has to be asked for in parts.
        let mut end = queries.rows();
        let mut listed = Listed::new(first..end, gallery.rows(), wanted)?;
        if listed.ids.len() > WANTED {
            let fit = listed.starts.partition_point(|&start| start <= WANTED).saturating_sub(1);
            end = first + fit.max(1);
            listed = Listed::new(first..end, gallery.rows(), wanted)?;
        }
        let mut left_out = Listed::new(first..end, gallery.rows(), excluded)?;
        listed.measure(metric, &a, first, b);
        left_out.measure(metric, &a, first, b);
        let count = Count { ties, beaten: listed.ids.iter().map(|_| AtomicU32::new(0)).collect(), listed: &listed };
        scored = if same && first == 0 && end == queries.rows() && is_symmetric(metric) {
            let tasks = block_pairs(end, ROWS);
            let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
            run(&tasks, size, watch, scored, |(rows, columns), buffer| {
                let mut turned = std::mem::take(&mut buffer.turned);
                let (scores, stride) = closeness(metric, (&a, rows.clone()), (&a, columns.clone()), buffer);
                for (i, row) in rows.clone().zip(scores.chunks_exact(stride)) {
                    count.row(i, columns.start, &row[..columns.len()]);
                }
                if rows != columns {
                    turn(scores, stride, (rows.len(), columns.len()), &mut turned);
                    for (j, row) in columns.clone().zip(turned.chunks_exact(rows.len())) {
                        count.row(j, rows.start, row);
                    }
                }
                buffer.turned = turned;
            })?
        } else {
            let columns = blocks(gallery.rows(), COLUMNS);
            let rows = || blocks(end - first, ROWS);
            let tasks: Vec<_> = columns.flat_map(|c| rows().map(move |r| (r, c.clone()))).collect();
            let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
            run(&tasks, size, watch, scored, |(rows, columns), buffer| {
                let asked = first + rows.start..first + rows.end;
                let (scores, stride) = closeness(metric, (&a, asked), (b, columns.clone()), buffer);
                for (i, row) in rows.clone().zip(scores.chunks_exact(stride)) {
                    count.row(i, columns.start, &row[..columns.len()]);
                }
            })?
        };
        let beaten: Vec<u32> = count.beaten.into_iter().map(AtomicU32::into_inner).collect();
        let each = (0..end - first).into_par_iter().map(|i| corrected(&listed, &left_out, ties, &beaten, i));
        for list in each.collect::<Vec<_>>() {
            found.ranks.extend(list);
            found.starts.push(found.ranks.len());
        }
        found.closeness.extend_from_slice(&listed.closeness);
        first = end;
    }
    Ok(found)
}

/// For each wanted row, the gallery rows that stand before it.
struct Count<'a> {
    ties: Ties,
    listed: &'a Listed,
    beaten: Vec<AtomicU32>,
}

impl Count<'_> {
    /// Counts in the closeness of gallery rows `first..` to the `i`-th query.
    fn row(&self, i: usize, first: usize, row: &[f32]) {
        /// Wanted rows above which a search among them is cheaper than asking each.
        const FEW: usize = 24;
        let (ids, closeness) = (self.listed.ids(i), self.listed.closeness(i));
        if ids.len() > FEW {
            return self.many(i, first, row);
        }
        let beaten = &self.beaten[self.listed.starts[i]..self.listed.starts[i + 1]];
        for ((ids, closeness), beaten) in ids.chunks(4).zip(closeness.chunks(4)).zip(beaten.chunks(4)) {
            // Where the row is counted from: before a wanted row those that equal it, after it only those that beat it.
            let mut limits = [f32::INFINITY; 4];
            let mut own = [None; 4];
            for (k, (&id, &v)) in ids.iter().zip(closeness).enumerate() {
                let id = id as usize;
                limits[k] = match self.ties {
                    Ties::Pessimistic => v,
                    Ties::ById if id >= first => v,
                    _ => v.next_up(),
                };
                own[k] = (self.ties == Ties::ById && (first..first + row.len()).contains(&id)).then(|| id - first);
            }
            let counts = widest(
                #[inline(always)]
                || reach(row, limits),
            );
            for (k, slot) in beaten.iter().enumerate() {
                let v = closeness[k];
                // Of those after it in the same block, the equal ones were counted too many, and it itself.
                let equal = own[k].map_or(0, |at| row[at..].iter().filter(|&&s| s == v).count() as u32);
                slot.fetch_add(counts[k] - equal, Ordering::Relaxed);
            }
        }
    }

    /// The same by search in the sorted list of wanted rows.
    fn many(&self, i: usize, first: usize, row: &[f32]) {
        let (ids, closeness) = (self.listed.ids(i), self.listed.closeness(i));
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        let place = |k: u32| (closeness[k as usize], ids[k as usize]);
        order.sort_unstable_by(|&x, &y| {
            let ((v, a), (w, b)) = (place(x), place(y));
            w.total_cmp(&v).then(a.cmp(&b))
        });
        let sorted: Vec<(f32, u32)> = order.iter().map(|&k| place(k)).collect();
        let Some(&(least, _)) = sorted.last() else { return };
        // One more for each that stands before the wanted rows from here on.
        let mut steps = vec![0u32; sorted.len() + 1];
        let mut hits = [0u32; COLUMNS];
        let count = reaching(row, least, &mut hits);
        for &j in hits[..count].iter().filter(|&&j| !row[j as usize].is_nan()) {
            let (s, id) = (row[j as usize], first as u32 + j);
            let from = match self.ties {
                Ties::ById => sorted.partition_point(|&(v, own)| v > s || v == s && own <= id),
                Ties::Optimistic => sorted.partition_point(|&(v, _)| v >= s),
                Ties::Pessimistic => sorted.partition_point(|&(v, _)| v > s),
            };
            steps[from] += 1;
        }
        let mut before = 0;
        for (&k, step) in order.iter().zip(steps) {
            before += step;
            self.beaten[self.listed.starts[i] + k as usize].fetch_add(before, Ordering::Relaxed);
        }
    }
}

/// How many of the row reach each limit.
#[inline(always)]
fn reach(row: &[f32], limits: [f32; 4]) -> [u32; 4] {
    let [a, b, c, d] = limits;
    let mut counts = [0u32; 4];
    for &s in row {
        counts[0] += u32::from(s >= a);
        counts[1] += u32::from(s >= b);
        counts[2] += u32::from(s >= c);
        counts[3] += u32::from(s >= d);
    }
    counts
}

/// The ranks of the `i`-th query: without what is left out, and with ties among wanted rows as they should be.
fn corrected(listed: &Listed, left_out: &Listed, ties: Ties, beaten: &[u32], i: usize) -> Vec<u32> {
    let wanted = || listed.ids(i).iter().zip(listed.closeness(i));
    // Equals among the wanted ones, by id.
    let mut order: Vec<(f32, u32)> = wanted().map(|(&id, &v)| (v, id)).collect();
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let rank = |((&id, &v), &beaten): ((&u32, &f32), &u32)| {
        let out = left_out.ids(i).iter().zip(left_out.closeness(i));
        let before = out.filter(|&(&other, &s)| match ties {
            Ties::ById => s > v || s == v && other < id,
            Ties::Optimistic => s > v,
            Ties::Pessimistic => s >= v,
        });
        let equals = || {
            let from = order.partition_point(|&(w, _)| w > v);
            order[from..].iter().take_while(move |&&(w, _)| w == v)
        };
        let ties = match ties {
            Ties::ById => 1,
            Ties::Optimistic => 1 + equals().filter(|e| e.1 < id).count() as i64,
            Ties::Pessimistic => -(equals().filter(|e| e.1 > id).count() as i64),
        };
        (i64::from(beaten) - before.count() as i64 + ties) as u32
    };
    wanted().zip(&beaten[listed.starts[i]..]).map(rank).collect()
}
