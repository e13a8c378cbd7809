//! Products of a matrix with itself: half of the work of two different ones.

use super::{Strided, parallel_product, product};
use crate::Real;
use rayon::prelude::*;

/// Numbers written side by side: as many as a cache line holds.
const LINE: usize = 16;
/// Rows written together: as many pages as a processor keeps at hand.
const ROWS: usize = 64;

/// `out [n, n] = x·xᵀ` with `x [n, d]`: the upper triangle by products, the lower one copied. In between `finish` gets what is
/// to be copied, in parts: row, first column, values.
pub(crate) fn parallel_gram<T: Real>(
    (n, d): (usize, usize),
    x: &[T],
    out: &mut [T],
    finish: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    if n > 0 {
        upper((n, d), 0, x, out, &finish);
        mirror(n, 0, out);
    }
}

/// The part on and above the diagonal that rows of length `n` meet at column `left`; `x` begins with their vectors.
fn upper<T: Real>(
    (n, d): (usize, usize),
    left: usize,
    x: &[T],
    rows: &mut [T],
    finish: &(impl Fn(usize, usize, &mut [T]) + Sync),
) {
    let count = rows.len() / n;
    let Some((half, above, below)) = halves(n, rows) else {
        let (a, b) = (Strided::rows(x, d), Strided::rows(x, d).transposed());
        product((count, count, d), a, b, &mut rows[left..], n);
        return rows
            .chunks_exact_mut(n)
            .enumerate()
            .for_each(|(i, row)| finish(left + i, left, &mut row[left..left + count]));
    };
    let (a, b) = (Strided::rows(x, d), Strided::rows(&x[half * d..], d).transposed());
    parallel_product((half, count - half, d), a, b, &mut above[left + half..], (n, false));
    let columns = left + half..left + count;
    let finished = above.par_chunks_exact_mut(n).enumerate();
    finished.for_each(|(i, row)| finish(left + i, columns.start, &mut row[columns.clone()]));
    rayon::join(|| upper((n, d), left, x, above, finish), || upper((n, d), left + half, &x[half * d..], below, finish));
}

/// Copies what is above the diagonal below it, in rows of length `n` that meet it at column `left`.
fn mirror<T: Real>(n: usize, left: usize, rows: &mut [T]) {
    let Some((half, above, below)) = halves(n, rows) else { return turn_within(n, left, rows, false) };
    turn(n, (left + half, above), (left, below), false);
    rayon::join(|| mirror(n, left, above), || mirror(n, left + half, below));
}

/// `g ← g + gᵀ` of a square matrix `[n, n]`.
pub(crate) fn add_transposed<T: Real>(n: usize, g: &mut [T]) {
    fn add<T: Real>(n: usize, left: usize, rows: &mut [T]) {
        let Some((half, above, below)) = halves(n, rows) else { return turn_within(n, left, rows, true) };
        turn(n, (left, below), (left + half, above), true);
        turn(n, (left + half, above), (left, below), false);
        rayon::join(|| add(n, left, above), || add(n, left + half, below));
    }
    if n > 0 {
        add(n, 0, g);
    }
}

/// Upper and lower rows, and how many the upper are; `None` of few.
fn halves<T>(n: usize, rows: &mut [T]) -> Option<(usize, &mut [T], &mut [T])> {
    let count = rows.len() / n;
    let half = (count / 2).next_multiple_of(LINE);
    (count > ROWS).then(|| {
        let (above, below) = rows.split_at_mut(half * n);
        (half, above, below)
    })
}

/// Puts, or adds, the block of `from` that begins at its column into that of `to`, transposed: as many columns as `to` has
/// rows. Whole lines are read and written: rows that are a power of two apart meet in few places of a cache.
fn turn<T: Real>(n: usize, (begin, from): (usize, &[T]), (left, to): (usize, &mut [T]), add: bool) {
    to.par_chunks_mut(ROWS * n).enumerate().for_each(|(chunk, to)| {
        for (block, from) in from.chunks(LINE * n).enumerate() {
            let (lines, width) = (turned(n, from, begin + chunk * ROWS, to.len() / n), from.len() / n);
            write(n, left + block * LINE, to, &lines, width, add);
        }
    });
}

/// [`mirror`] or [`add_transposed`] of few rows.
fn turn_within<T: Real>(n: usize, left: usize, rows: &mut [T], add: bool) {
    let count = rows.len() / n;
    for first in (0..count).step_by(LINE) {
        let width = LINE.min(count - first);
        let (above, below) = rows.split_at_mut(first * n);
        let below = &mut below[..width * n];
        for (block, above) in above.chunks_mut(LINE * n).enumerate() {
            let (column, lines) = (left + block * LINE, turned(n, above, left + first, width));
            if add {
                let lines = turned(n, below, column, LINE);
                write(n, left + first, above, &lines, width, add);
            }
            write(n, column, below, &lines, LINE, add);
        }
        for (i, j) in (0..width).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let (lower, upper) = (i * n + left + first + j, j * n + left + first + i);
            let value = if add { below[lower] + below[upper] } else { below[upper] };
            below[lower] = value;
            below[upper] = value;
        }
    }
}

/// Columns `begin..begin + count` of at most [`LINE`] rows of length `n`, as rows.
#[inline(always)]
fn turned<T: Real>(n: usize, rows: &[T], begin: usize, count: usize) -> [[T; LINE]; ROWS] {
    let mut turned = [[T::zero(); LINE]; ROWS];
    for (i, row) in rows.chunks_exact(n).enumerate() {
        for (column, &value) in turned.iter_mut().zip(&row[begin..begin + count]) {
            column[i] = value;
        }
    }
    turned
}

/// Puts lines of so many numbers into rows of length `n`, at column `left`, or adds them.
#[inline(always)]
fn write<T: Real>(n: usize, left: usize, rows: &mut [T], lines: &[[T; LINE]], width: usize, add: bool) {
    for (row, line) in rows.chunks_exact_mut(n).zip(lines) {
        let row = &mut row[left..left + width];
        if add {
            row.iter_mut().zip(line).for_each(|(g, &value)| *g += value);
        } else {
            row.copy_from_slice(&line[..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_products_equal_plain_loops() {
        for n in [1usize, 5, 64, 65, 150, 300] {
            let d = 7;
            let x: Vec<f64> = (0..n * d).map(|i| ((i * i * 31 + 7 * i) % 101) as f64 / 50.0 - 1.0).collect();
            let mut s = vec![0.0; n * n];
            parallel_gram((n, d), &x, &mut s, |_, _, _| ());
            let dot = |i: usize, j: usize| (0..d).map(|k| x[i * d + k] * x[j * d + k]).sum::<f64>();
            assert!((0..n * n).all(|k| (s[k] - dot(k / n, k % n)).abs() < 1e-12), "{n}");
            let g: Vec<f64> = (0..n * n).map(|i| (i % 97) as f64).collect();
            let mut h = g.clone();
            add_transposed(n, &mut h);
            assert!((0..n * n).all(|k| h[k] == g[k] + g[k % n * n + k / n]), "{n}");
        }
    }
}
