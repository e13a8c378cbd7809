//! Matrix products on the CPU.

mod symmetric;

pub(crate) use symmetric::{add_transposed, parallel_gram};

use crate::Real;

/// A strided matrix view.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a, T> Strided<'a, T> {
    pub(crate) fn rows(data: &'a [T], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, row: self.column, column: self.row }
    }
}

/// `out [m, n] = a [m, k] · b [k, n]` on the calling thread; rows of `out` are `stride` apart.
pub(crate) fn product<T: Real>(
    sizes: (usize, usize, usize),
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    out: &mut [T],
    stride: usize,
) {
    multiply(sizes, a, b, out, (stride, false), gemm::Parallelism::None);
}

/// The same, or added to `out`, on all threads: each operand is packed once, and an element's sum has the same order on any
/// number of them.
pub(crate) fn parallel_product<T: Real>(
    sizes: (usize, usize, usize),
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    out: &mut [T],
    (stride, add): (usize, bool),
) {
    multiply(sizes, a, b, out, (stride, add), gemm::Parallelism::Rayon(0));
}

fn multiply<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    out: &mut [T],
    (stride, add): (usize, bool),
    parallelism: gemm::Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !add {
            out.chunks_mut(stride).take(m).for_each(|row| row[..n].fill(T::zero()));
        }
        return;
    }
    let reach = |s: Strided<'_, T>, rows: usize, columns: usize| (rows - 1) * s.row + (columns - 1) * s.column;
    assert!(reach(a, m, k) < a.data.len() && reach(b, k, n) < b.data.len());
    assert!(n <= stride && (m - 1) * stride + n <= out.len());
    // SAFETY: the assertions cover the furthest element that the strides reach in each operand, and `out` is borrowed
    // mutably, so nothing else reads or writes it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Dot product in lanes.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    lanes(a, b, |x, y| x * y)
}

/// Squared Euclidean distance in lanes.
pub(crate) fn squared_distance<T: Real>(a: &[T], b: &[T]) -> T {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

#[inline(always)]
pub(crate) fn lanes<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lane = [T::zero(); 8];
    let (ca, cb) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut rest = T::zero();
    for (&x, &y) in ca.remainder().iter().zip(cb.remainder()) {
        rest += f(x, y);
    }
    for (x, y) in ca.zip(cb) {
        for i in 0..8 {
            lane[i] += f(x[i], y[i]);
        }
    }
    lane.into_iter().sum::<T>() + rest
}
