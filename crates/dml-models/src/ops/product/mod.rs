//! Matrix products of slices.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod amx;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod parts;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tiled;

use super::precision::{Precision, nearest_bf16};

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows of `stride` numbers, of which some are looked at.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row_stride: stride, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// Its elements as the nearest bf16s, in dense rows.
    fn rounded(&self, rows: usize, columns: usize) -> Vec<f32> {
        let row = |i: usize| (0..columns).map(move |j| self.data[i * self.row_stride + j * self.column_stride]);
        (0..rows).flat_map(row).map(nearest_bf16).collect()
    }

    /// Whether `rows` by `columns` elements are all there.
    fn covers(&self, rows: usize, columns: usize) -> bool {
        let last = rows.saturating_sub(1) * self.row_stride + columns.saturating_sub(1) * self.column_stride;
        rows == 0 || columns == 0 || last < self.data.len()
    }
}

/// Who works on a product. The result is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The one that asks.
    One,
    /// All of rayon's.
    All,
}

/// `out [m, n] = scale · a [m, k] · b [k, n]`, or with `accumulate` added to it. Rows of `out` are `stride` numbers apart.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) sides: [usize; 3],
    pub(crate) stride: usize,
    pub(crate) scale: f32,
    pub(crate) accumulate: bool,
    pub(crate) threads: Threads,
    pub(crate) precision: Precision,
}

impl Product {
    /// A plain product with dense rows, by the calling thread.
    pub(crate) fn new(m: usize, n: usize, k: usize) -> Self {
        Self {
            sides: [m, n, k],
            stride: n,
            scale: 1.0,
            accumulate: false,
            threads: Threads::One,
            precision: Precision::F32,
        }
    }

    pub(crate) fn by_all(self) -> Self {
        Self { threads: Threads::All, ..self }
    }

    pub(crate) fn of(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub(crate) fn added(self) -> Self {
        Self { accumulate: true, ..self }
    }

    pub(crate) fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    pub(crate) fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn into(self, a: View<'_>, b: View<'_>, out: &mut [f32]) {
        let [m, n, _] = self.sides;
        assert!(View::rows(out, self.stride).covers(m, n), "product: short result");
        // SAFETY: the assertion above covers all that is written.
        unsafe { self.write(a, b, out.as_mut_ptr()) }
    }

    /// The product in memory of its own, which need not be filled with zeros first.
    pub(crate) fn made(self, a: View<'_>, b: View<'_>) -> Vec<f32> {
        let [m, n, k] = self.sides;
        if k == 0 {
            return vec![0.0; m * n];
        }
        assert!(self.stride == n && !self.accumulate, "product: new memory has dense rows and nothing to add to");
        let mut out = Vec::with_capacity(m * n);
        // SAFETY: the memory has room for `m` dense rows of `n` numbers. Since nothing is added to, it is written and not read, all
        // of it, before it counts as numbers.
        unsafe {
            self.write(a, b, out.as_mut_ptr());
            out.set_len(m * n);
        }
        out
    }

    /// # Safety
    /// `out` must have room for `m` rows that are `stride` apart, each of `n` numbers; they must hold numbers if they are added to.
    unsafe fn write(self, a: View<'_>, b: View<'_>, out: *mut f32) {
        let [m, n, k] = self.sides;
        assert!(a.covers(m, k) && b.covers(k, n) && self.stride >= n, "product: short operand");
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        let parts = if self.precision == Precision::Bf16 { 1 } else { amx::PARTS };
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        if self.threads == Threads::All
            && tiled::suits(self.sides, parts)
            && let Some(unit) = amx::Unit::of_this_machine()
            && let (Some(left), Some(right)) =
                (parts::Operand::left(a, m, self.scale, parts), parts::Operand::right(b, n, parts))
        {
            // SAFETY: the assertion above covers every element of the operands, and the caller vouches for `out`.
            return unsafe { tiled::multiply(unit, &self, left, right, out) };
        }
        let rounded = (self.precision == Precision::Bf16).then(|| (a.rounded(m, k), b.rounded(k, n)));
        let (a, b) = match &rounded {
            Some((a, b)) => (View::rows(a, k), View::rows(b, n)),
            None => (a, b),
        };
        // SAFETY: as above; what is rounded is as large.
        unsafe { self.write_by_gemm(a, b, out) }
    }

    /// # Safety
    /// As for [`Self::write`]; the operands must cover their elements, too.
    unsafe fn write_by_gemm(&self, a: View<'_>, b: View<'_>, out: *mut f32) {
        let [m, n, k] = self.sides;
        let parallelism = match self.threads {
            Threads::One => gemm::Parallelism::None,
            // 0: as many as rayon has.
            Threads::All => gemm::Parallelism::Rayon(0),
        };
        // SAFETY: the assertion above covers every element that the strides of the operands reach, the caller vouches for `out`, and
        // rows of it do not overlap.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out,
                1,
                self.stride as isize,
                self.accumulate,
                a.data.as_ptr(),
                a.column_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.column_stride as isize,
                b.row_stride as isize,
                1.0,
                self.scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

#[cfg(test)]
mod tests;
