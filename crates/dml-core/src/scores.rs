//! Score matrices on the CPU.

use crate::device::cpu::{Strided, dot, parallel_gram, parallel_product, product, squared_distance};
use crate::vector::widest;
use crate::{Error, Matrix, Metric, Projection, Real, Result, hyperbolic};
use rayon::prelude::*;
use std::borrow::Cow;

/// Below this share of the norms, `‖a‖² + ‖b‖² − 2a·b` has lost its digits and is computed again by subtraction.
pub(crate) const CANCELLED: f64 = 1e-2;

/// One side of a score matrix, with what is needed once per row.
pub(crate) struct Side<'a, T: Real> {
    /// The rows, normalised for cosine, centred for SNR.
    pub(crate) values: Cow<'a, [T]>,
    /// `‖·‖²` of each of them, where the metric needs it.
    pub(crate) squares: Vec<T>,
    pub(crate) cols: usize,
}

impl<'a, T: Real> Side<'a, T> {
    pub(crate) fn new(metric: Metric, x: Matrix<'a, T>) -> Self {
        let values = match metric {
            Metric::Cosine => Cow::Owned(Projection::Unit.apply(x).values),
            Metric::Snr => Cow::Owned(centred(x)),
            _ => Cow::Borrowed(x.data()),
        };
        let cols = x.cols();
        let mut side = Self { values, squares: Vec::new(), cols };
        if !matches!(metric, Metric::Cosine | Metric::Dot | Metric::Lp(_)) {
            side.squares = (0..x.rows()).into_par_iter().map(|i| dot(side.row(i), side.row(i))).collect();
        }
        side
    }

    pub(crate) fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.cols..][..self.cols]
    }

    /// Some of the rows, as they are here.
    pub(crate) fn chosen(&self, rows: &[u32]) -> Side<'static, T> {
        let values = rows.iter().flat_map(|&i| self.row(i as usize)).copied().collect();
        let squares =
            if self.squares.is_empty() { Vec::new() } else { rows.iter().map(|&i| self.squares[i as usize]).collect() };
        Side { values: Cow::Owned(values), squares, cols: self.cols }
    }
}

/// Rows minus their mean.
fn centred<T: Real>(x: Matrix<'_, T>) -> Vec<T> {
    let mut values = x.data().to_vec();
    for row in values.chunks_exact_mut(x.cols().max(1)) {
        let mean = row.iter().copied().sum::<T>() / T::of(x.cols() as f64);
        row.iter_mut().for_each(|v| *v -= mean);
    }
    values
}

/// Scores of queries `first..` against the whole gallery into `out` `[count, gallery]`.
pub(crate) fn score_tile<T: Real>(
    metric: Metric,
    queries: &Side<'_, T>,
    gallery: &Side<'_, T>,
    first: usize,
    columns: usize,
    out: &mut [T],
) {
    let (count, d) = (out.len() / columns, queries.cols);
    if let Metric::Lp(p) = metric {
        for (i, row) in out.chunks_exact_mut(columns).enumerate() {
            let a = queries.row(first + i);
            row.iter_mut().enumerate().for_each(|(j, s)| *s = lp(p, a, gallery.row(j)));
        }
        return;
    }
    let a = Strided::rows(&queries.values[first * d..][..count * d], d);
    product((count, columns, d), a, Strided::rows(&gallery.values, d).transposed(), out, columns);
    if !metric.is_similarity() {
        let rows = out.chunks_exact_mut(columns).enumerate();
        rows.for_each(|(i, row)| finish(metric, queries, gallery, first + i, 0, row));
    }
}

/// From dot products of query `i` with the gallery's rows `first..` to scores.
pub(crate) fn finish<T: Real>(
    metric: Metric,
    queries: &Side<'_, T>,
    gallery: &Side<'_, T>,
    i: usize,
    first: usize,
    row: &mut [T],
) {
    let squares = &gallery.squares[first..][..row.len()];
    finish_row(metric, queries.squares[i], squares, row, |j| squared_distance(queries.row(i), gallery.row(first + j)));
}

/// From dot products with vectors of these squares to scores; `aa` is the square of the one, `distance_of` computes the squared
/// distance to a vector by subtraction.
pub(crate) fn finish_row<T: Real>(
    metric: Metric,
    aa: T,
    squares: &[T],
    row: &mut [T],
    distance_of: impl Fn(usize) -> T,
) {
    // The few near ones are found before the loop over all of them writes.
    let mut close: Vec<(usize, T)> = Vec::new();
    widest(
        #[inline(always)]
        || {
            near(aa, squares, row, &mut close);
            close.iter_mut().for_each(|(j, score)| {
                *score = of_square(metric, distance_of(*j), row[*j], aa, squares[*j]);
            });
            // One loop per metric, so that each becomes vector instructions.
            match metric {
                Metric::Euclidean => each(row, squares, |s, bb| square(s, aa, bb).sqrt()),
                Metric::SquaredEuclidean => each(row, squares, |s, bb| square(s, aa, bb)),
                Metric::Hyperbolic(c) => {
                    each(row, squares, |s, bb| hyperbolic::distance(c, square(s, aa, bb), s, aa, bb));
                }
                _ => each(row, squares, |s, bb| of_square(metric, square(s, aa, bb), s, aa, bb)),
            }
        },
    );
    for (j, score) in close {
        row[j] = score;
    }
}

/// `s ← f(s, b)`.
#[inline(always)]
fn each<T: Real>(scores: &mut [T], squares: &[T], f: impl Fn(T, T) -> T) {
    for (s, &bb) in scores.iter_mut().zip(squares) {
        *s = f(*s, bb);
    }
}

/// Columns whose distance is lost in the norms.
#[inline(always)]
fn near<T: Real>(aa: T, squares: &[T], dots: &[T], found: &mut Vec<(usize, T)>) {
    /// Columns looked at together.
    const COLUMNS: usize = 64;
    let is_near = |dot: T, bb: T| aa + bb - dot - dot < T::of(CANCELLED) * (aa + bb);
    for (block, (dots, squares)) in dots.chunks(COLUMNS).zip(squares.chunks(COLUMNS)).enumerate() {
        if dots.iter().zip(squares).fold(false, |any, (&dot, &bb)| any | is_near(dot, bb)) {
            let here = (0..dots.len()).filter(|&j| is_near(dots[j], squares[j]));
            found.extend(here.map(|j| (block * COLUMNS + j, T::zero())));
        }
    }
}

/// `‖a − b‖²` from products; not by `max`, which hides what is not a number.
#[inline(always)]
fn square<T: Real>(dot: T, aa: T, bb: T) -> T {
    let square = aa + bb - dot - dot;
    if square < T::zero() { T::zero() } else { square }
}

/// The score of a pair at `‖a − b‖²`, of centred vectors for SNR.
#[inline(always)]
fn of_square<T: Real>(metric: Metric, square: T, dot: T, aa: T, bb: T) -> T {
    match metric {
        Metric::Euclidean => square.sqrt(),
        Metric::Snr if aa > T::zero() => square / aa,
        Metric::Snr => T::zero(),
        Metric::Hyperbolic(c) => hyperbolic::distance(c, square, dot, aa, bb),
        _ => square,
    }
}

/// `(Σ |a − b|^p)^{1/p}`.
pub(crate) fn lp<T: Real>(p: f64, a: &[T], b: &[T]) -> T {
    let terms = a.iter().zip(b).map(|(&x, &y)| (x - y).abs());
    if p == 1.0 { terms.sum() } else { terms.map(|t| t.powf(T::of(p))).sum::<T>().powf(T::of(1.0 / p)) }
}

/// All scores of one side against itself, into `out` `[n, n]`.
pub(crate) fn parallel_self_scores<T: Real>(metric: Metric, side: &Side<'_, T>, n: usize, out: &mut [T]) {
    if n == 0 {
        return;
    }
    if let Metric::Lp(_) = metric {
        out.par_chunks_mut(n).enumerate().for_each(|(i, row)| score_tile(metric, side, side, i, n, row));
        return;
    }
    if metric.is_similarity() {
        return parallel_gram((n, side.cols), &side.values, out, |_, _, _| ());
    }
    if metric == Metric::Snr {
        // Not symmetric.
        parallel_gram((n, side.cols), &side.values, out, |_, _, _| ());
        return out.par_chunks_mut(n).enumerate().for_each(|(i, row)| finish(metric, side, side, i, 0, row));
    }
    parallel_gram((n, side.cols), &side.values, out, |i, first, row| finish(metric, side, side, i, first, row));
}

/// All scores of `queries` (`[q, d]`) against `gallery` (`[m, d]`), row-major into `out` (`[q, m]`).
///
/// # Errors
/// When the vectors differ in length or `out` is not of `q·m` values.
pub fn scores<T: Real>(metric: Metric, queries: Matrix<'_, T>, gallery: Matrix<'_, T>, out: &mut [T]) -> Result<()> {
    queries.same_width(gallery)?;
    if out.len() != queries.rows() * gallery.rows() {
        return Err(Error::Shape(format!(
            "scores of {} queries and {} gallery rows want {} places but were given {}",
            queries.rows(),
            gallery.rows(),
            queries.rows() * gallery.rows(),
            out.len()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    let (a, b) = (Side::new(metric, queries), Side::new(metric, gallery));
    parallel_scores(metric, &a, &b, 0, gallery.rows(), out);
    Ok(())
}

/// All scores of the rows of `x` (`[n, d]`) against each other, row-major into `out` (`[n, n]`): half of the work of
/// [`scores`], because only half of the products are different ones.
///
/// # Errors
/// When `out` is not of `n²` values.
pub fn self_scores<T: Real>(metric: Metric, x: Matrix<'_, T>, out: &mut [T]) -> Result<()> {
    if out.len() != x.rows() * x.rows() {
        let (want, given) = (x.rows() * x.rows(), out.len());
        return Err(Error::Shape(format!("scores of {} rows want {want} places but were given {given}", x.rows())));
    }
    parallel_self_scores(metric, &Side::new(metric, x), x.rows(), out);
    Ok(())
}

/// Scores of queries `first..` against the whole gallery, on all threads.
pub(crate) fn parallel_scores<T: Real>(
    metric: Metric,
    a: &Side<'_, T>,
    b: &Side<'_, T>,
    first: usize,
    columns: usize,
    out: &mut [T],
) {
    if let Metric::Lp(_) = metric {
        let rows = out.par_chunks_mut(columns).enumerate();
        rows.for_each(|(i, row)| score_tile(metric, a, b, first + i, columns, row));
        return;
    }
    let (count, d) = (out.len() / columns, a.cols);
    let queries = Strided::rows(&a.values[first * d..][..count * d], d);
    parallel_product((count, columns, d), queries, Strided::rows(&b.values, d).transposed(), out, (columns, false));
    if !metric.is_similarity() {
        out.par_chunks_mut(columns).enumerate().for_each(|(i, row)| finish(metric, a, b, first + i, 0, row));
    }
}

/// Calls `f(query, scores against the whole gallery)` for every query, some at a time, in any order: the whole score
/// matrix never exists.
///
/// # Errors
/// When the vectors differ in length.
pub fn for_each_score_row<T: Real>(
    metric: Metric,
    queries: Matrix<'_, T>,
    gallery: Matrix<'_, T>,
    f: impl Fn(usize, &[T]) + Sync,
) -> Result<()> {
    /// Queries at a time.
    const ROWS: usize = 64;
    queries.same_width(gallery)?;
    let columns = gallery.rows();
    if columns == 0 {
        (0..queries.rows()).for_each(|q| f(q, &[]));
        return Ok(());
    }
    let (a, b) = (Side::new(metric, queries), Side::new(metric, gallery));
    (0..queries.rows().div_ceil(ROWS)).into_par_iter().for_each_init(
        || vec![T::zero(); ROWS * columns],
        |buffer, t| {
            let count = ROWS.min(queries.rows() - t * ROWS);
            let out = &mut buffer[..count * columns];
            score_tile(metric, &a, &b, t * ROWS, columns, out);
            for (i, row) in out.chunks_exact(columns).enumerate() {
                f(t * ROWS + i, row);
            }
        },
    );
    Ok(())
}
