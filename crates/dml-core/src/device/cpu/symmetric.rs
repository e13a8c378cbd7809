//! Products of a matrix with itself: half of the work of two different ones.

use super::{Strided, product, tile};
use crate::Real;
use rayon::prelude::*;

/// Rows that are transposed together: as many numbers as a cache line holds.
const LINE: usize = 16;

/// `out [n, n] = x·xᵀ` with `x [n, d]`: the upper triangle by products, the lower one copied.
pub(crate) fn parallel_gram<T: Real>(n: usize, d: usize, x: &[T], out: &mut [T]) {
    if n == 0 {
        return;
    }
    let tile = tile(n);
    let b = Strided::rows(x, d).transposed();
    out.par_chunks_mut(tile * n).enumerate().for_each(|(t, out)| {
        let first = t * tile;
        let rows = out.len() / n;
        let b = Strided { data: &b.data[first * d..], ..b };
        product((rows, n - first, d), Strided::rows(&x[first * d..], d), b, &mut out[first..], n, false);
    });
    for first in (tile..n).step_by(tile) {
        let (above, rest) = out.split_at_mut(first * n);
        mirror(n, first, above, &mut rest[..tile.min(n - first) * n]);
    }
}

/// Copies columns `first..` of the rows above into the first columns of the rows that begin at `first`.
fn mirror<T: Real>(n: usize, first: usize, above: &[T], rows: &mut [T]) {
    rows.par_chunks_mut(LINE * n).enumerate().for_each(|(chunk, rows)| {
        let begin = first + chunk * LINE;
        let count = rows.len() / n;
        for j in 0..first {
            let from = &above[j * n + begin..][..count];
            for (i, &value) in from.iter().enumerate() {
                rows[i * n + j] = value;
            }
        }
    });
}

/// `g ← g + gᵀ` of a square matrix `[n, n]`.
pub(crate) fn add_transposed<T: Real>(n: usize, g: &mut [T]) {
    if n == 0 {
        return;
    }
    let tile = tile(n);
    // Blocks on the diagonal.
    g.par_chunks_mut(tile * n).enumerate().for_each(|(t, rows)| {
        let (first, count) = (t * tile, rows.len() / n);
        for i in 0..count {
            for j in 0..=i {
                let sum = rows[i * n + first + j] + rows[j * n + first + i];
                rows[i * n + first + j] = sum;
                rows[j * n + first + i] = sum;
            }
        }
    });
    for first in (tile..n).step_by(tile) {
        let (above, rest) = g.split_at_mut(first * n);
        let below = &mut rest[..tile.min(n - first) * n];
        let count = below.len() / n;
        above.par_chunks_mut(LINE * n).enumerate().for_each(|(chunk, rows)| {
            let begin = chunk * LINE;
            let here = rows.len() / n;
            for i in 0..count {
                let from = &below[i * n + begin..][..here];
                for (j, &value) in from.iter().enumerate() {
                    rows[j * n + first + i] += value;
                }
            }
        });
        mirror(n, first, above, below);
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
            parallel_gram(n, d, &x, &mut s);
            let dot = |i: usize, j: usize| (0..d).map(|k| x[i * d + k] * x[j * d + k]).sum::<f64>();
            assert!((0..n * n).all(|k| (s[k] - dot(k / n, k % n)).abs() < 1e-12), "{n}");
            let g: Vec<f64> = (0..n * n).map(|i| (i % 97) as f64).collect();
            let mut h = g.clone();
            add_transposed(n, &mut h);
            assert!((0..n * n).all(|k| h[k] == g[k] + g[k % n * n + k / n]), "{n}");
        }
    }
}
