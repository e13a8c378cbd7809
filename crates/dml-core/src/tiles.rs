//! Blocks of a score matrix that never exists as a whole.

use crate::device::cpu::{Strided, product};
use crate::scores::{Side, finish, lp};
use crate::{Error, Matrix, Metric, Result};
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Rows and columns of a block: large, so that a product spends its time multiplying and not packing.
pub(crate) const ROWS: usize = 512;
pub(crate) const COLUMNS: usize = 512;
/// Smaller products go by other ways through `gemm`, which add in another order: they are filled up with zeros, so that the
/// score of a pair is the same, bit for bit, in whatever block it stands.
const LEAST_ROWS: usize = 4;
const LEAST_COLUMNS: usize = 72;

/// Asked now and then with the number of scores so far: progress, and whether to go on.
pub type Watch<'a> = &'a (dyn Fn(usize) -> ControlFlow<()> + Sync);

/// Goes on.
pub fn unwatched(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Scores of some rows against some columns.
#[derive(Debug)]
pub struct PairTile<'a> {
    /// Rows of the first matrix.
    pub rows: Range<usize>,
    /// Rows of the second one.
    pub columns: Range<usize>,
    /// `[rows, columns]`, as the metric reports them.
    pub scores: &'a [f32],
}

impl PairTile<'_> {
    /// Calls `f(row, columns, scores)` for the part of each row that lies right of the diagonal: all pairs `row < column`.
    #[inline(always)]
    pub fn for_each_row(&self, mut f: impl FnMut(usize, Range<usize>, &[f32])) {
        for (i, scores) in self.rows.clone().zip(self.scores.chunks_exact(self.columns.len().max(1))) {
            let from = self.columns.start.max(i + 1);
            if from < self.columns.end {
                f(i, from..self.columns.end, &scores[from - self.columns.start..]);
            }
        }
    }
}

/// Memory of a block, used again and again.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) scores: Vec<f32>,
    pub(crate) rows: Vec<f32>,
    columns: Vec<f32>,
    /// For [`turn`].
    pub(crate) turned: Vec<f32>,
}

/// Scores of `a`'s `rows` against `b`'s `columns`, and how far apart the rows of the result are.
pub(crate) fn score<'b>(
    metric: Metric,
    (a, rows): (&Side<'_, f32>, Range<usize>),
    (b, columns): (&Side<'_, f32>, Range<usize>),
    buffer: &'b mut Buffer,
) -> (&'b mut [f32], usize) {
    let (height, width, d) = (rows.len(), columns.len(), a.cols);
    if let Metric::Lp(p) = metric {
        buffer.scores.resize(height * width, 0.0);
        for (i, row) in rows.zip(buffer.scores.chunks_exact_mut(width.max(1))) {
            columns.clone().zip(row).for_each(|(j, score)| *score = lp(p, a.row(i), b.row(j)));
        }
        return (&mut buffer.scores, width);
    }
    let (m, n) = (height.max(LEAST_ROWS), width.max(LEAST_COLUMNS));
    buffer.scores.resize(m * n, 0.0);
    let left = filled(&a.values[rows.start * d..rows.end * d], m * d, &mut buffer.rows);
    let right = filled(&b.values[columns.start * d..columns.end * d], n * d, &mut buffer.columns);
    product((m, n, d), Strided::rows(left, d), Strided::rows(right, d).transposed(), &mut buffer.scores, n);
    if !metric.is_similarity() {
        let each = rows.zip(buffer.scores.chunks_exact_mut(n));
        each.for_each(|(i, row)| finish(metric, a, b, i, columns.start, &mut row[..width]));
    }
    (&mut buffer.scores, n)
}

/// The values, followed by zeros up to `len`.
fn filled<'v>(values: &'v [f32], len: usize, copy: &'v mut Vec<f32>) -> &'v [f32] {
    if values.len() == len {
        return values;
    }
    copy.clear();
    copy.extend_from_slice(values);
    copy.resize(len, 0.0);
    copy
}

/// The same as [`score`], but larger is closer.
pub(crate) fn closeness<'b>(
    metric: Metric,
    a: (&Side<'_, f32>, Range<usize>),
    b: (&Side<'_, f32>, Range<usize>),
    buffer: &'b mut Buffer,
) -> (&'b mut [f32], usize) {
    let (scores, stride) = score(metric, a, b, buffer);
    if !metric.is_similarity() {
        scores.iter_mut().for_each(|s| *s = -*s);
    }
    (scores, stride)
}

/// `[rows, columns]`, rows `stride` apart, turned to `[columns, rows]`.
pub(crate) fn turn(scores: &[f32], stride: usize, (rows, columns): (usize, usize), turned: &mut Vec<f32>) {
    const SQUARE: usize = 16;
    turned.resize(rows * columns, 0.0);
    for i in blocks(rows, SQUARE) {
        for j in blocks(columns, SQUARE) {
            // Copied first: rows a power of two apart meet in few places of a cache.
            let mut square = [[0f32; SQUARE]; SQUARE];
            for (k, line) in square.iter_mut().take(i.len()).enumerate() {
                line[..j.len()].copy_from_slice(&scores[(i.start + k) * stride..][j.clone()]);
            }
            for (k, column) in j.enumerate() {
                let line = &mut turned[column * rows..][i.clone()];
                line.iter_mut().zip(&square).for_each(|(to, from)| *to = from[k]);
            }
        }
    }
}

/// Whether the score of two rows does not depend on which comes first.
pub(crate) fn is_symmetric(metric: Metric) -> bool {
    matches!(metric, Metric::Cosine | Metric::Dot | Metric::Euclidean | Metric::SquaredEuclidean)
}

/// Runs tasks on all threads, each with a buffer of its thread, until they are done or `watch` breaks off.
pub(crate) fn run<T: Sync>(
    tasks: &[T],
    scores: impl Fn(&T) -> usize + Sync,
    watch: Watch<'_>,
    before: usize,
    work: impl Fn(&T, &mut Buffer) + Sync,
) -> Result<usize> {
    let (done, stopped) = (AtomicUsize::new(before), AtomicBool::new(false));
    tasks.par_iter().for_each_init(Buffer::default, |buffer, task| {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        work(task, buffer);
        let count = scores(task);
        if watch(done.fetch_add(count, Ordering::Relaxed) + count).is_break() {
            stopped.store(true, Ordering::Relaxed);
        }
    });
    if stopped.into_inner() { Err(Error::Cancelled) } else { Ok(done.into_inner()) }
}

/// The blocks of `0..n`.
pub(crate) fn blocks(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n.div_ceil(size)).map(move |block| block * size..((block + 1) * size).min(n))
}

/// Pairs of blocks that hold every pair of `0..n` once: `(rows, columns)` with rows before columns, and each block with itself.
pub(crate) fn block_pairs(n: usize, size: usize) -> Vec<(Range<usize>, Range<usize>)> {
    blocks(n, size).flat_map(|rows| blocks(n, size).skip(rows.start / size).map(move |c| (rows.clone(), c))).collect()
}

/// Calls `f` with blocks of scores of the rows of `x` (`[n, d]`) against each other, some at a time, in any order. Every pair
/// `row < column` is in one of them; what else a block on the diagonal holds is to be passed over.
///
/// # Errors
/// When `watch` breaks off.
pub fn for_each_pair_tile(
    metric: Metric,
    x: Matrix<'_>,
    watch: Watch<'_>,
    f: impl Fn(&PairTile<'_>) + Sync,
) -> Result<()> {
    let side = Side::new(metric, x);
    let tasks = block_pairs(x.rows(), ROWS);
    let size = |(rows, columns): &(Range<usize>, Range<usize>)| rows.len() * columns.len();
    run(&tasks, size, watch, 0, |(rows, columns), buffer| {
        let (height, width) = (rows.len(), columns.len());
        let (scores, stride) = score(metric, (&side, rows.clone()), (&side, columns.clone()), buffer);
        if stride > width {
            (1..height).for_each(|i| scores.copy_within(i * stride..i * stride + width, i * width));
        }
        f(&PairTile { rows: rows.clone(), columns: columns.clone(), scores: &scores[..height * width] });
    })?;
    Ok(())
}
