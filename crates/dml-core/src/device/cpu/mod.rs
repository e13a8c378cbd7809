//! Matrix products on the CPU.

use rayon::prelude::*;

/// Rows of one tile: fixed, so that no result depends on the number of threads.
pub(crate) const TILE: usize = 64;

/// A strided matrix view.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Strided<'a> {
    pub(crate) fn rows(data: &'a [f32], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// `out [m, n] = a [m, k] · b [k, n]`, on the calling thread.
pub(crate) fn product(m: usize, n: usize, k: usize, a: Strided<'_>, b: Strided<'_>, out: &mut [f32]) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        out.fill(0.0);
        return;
    }
    let reach = |s: Strided<'_>, rows: usize, columns: usize| (rows - 1) * s.row + (columns - 1) * s.column;
    assert!(reach(a, m, k) < a.data.len() && reach(b, k, n) < b.data.len() && out.len() >= m * n);
    // SAFETY: the assertion covers the furthest element that the strides reach in each operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// As [`product`], tiles of rows in parallel.
pub(crate) fn parallel_product(m: usize, n: usize, k: usize, a: Strided<'_>, b: Strided<'_>, out: &mut [f32]) {
    if n == 0 {
        return;
    }
    out[..m * n].par_chunks_mut(TILE * n).enumerate().for_each(|(tile, out)| {
        let rows = out.len() / n;
        let a = Strided { data: a.data.get(tile * TILE * a.row..).unwrap_or_default(), ..a };
        product(rows, n, k, a, b, out);
    });
}

/// Dot product in eight lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| x * y)
}

/// Squared Euclidean distance in eight lanes.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

fn lanes(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lane = [0f32; 8];
    let (ca, cb) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = ca.remainder().iter().zip(cb.remainder()).map(|(&x, &y)| f(x, y)).sum();
    for (x, y) in ca.zip(cb) {
        for i in 0..8 {
            lane[i] += f(x[i], y[i]);
        }
    }
    lane.iter().sum::<f32>() + rest
}
