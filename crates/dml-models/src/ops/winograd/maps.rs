//! The maps of tiles and kernels along one side of a square, and their transposes: Lavin & Gray 2016, eq. 9–12.
//!
//! All of this is inlined into what `widest` compiles: a call would leave its vectors.

use super::LANES;
use std::ops::{Add, Mul, Neg, Sub};

#[inline(always)]
pub(super) fn b_t([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
    [a - c, b + c, c - b, b - d]
}

#[inline(always)]
pub(super) fn b([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
    [a, b - c + d, b + c - a, -d]
}

#[inline(always)]
pub(super) fn a_t([a, b, c, d]: [Lanes; 4]) -> [Lanes; 2] {
    [a + b + c, b - c - d]
}

#[inline(always)]
pub(super) fn a([a, b]: [Lanes; 2]) -> [Lanes; 4] {
    [a, a + b, a - b, -b]
}

#[inline(always)]
pub(super) fn g([a, b, c]: [Lanes; 3]) -> [Lanes; 4] {
    [a, (a + b + c) * 0.5, (a - b + c) * 0.5, c]
}

#[inline(always)]
pub(super) fn g_t([a, b, c, d]: [Lanes; 4]) -> [Lanes; 3] {
    [a + (b + c) * 0.5, (b - c) * 0.5, (b + c) * 0.5 + d]
}

/// Numbers side by side.
#[derive(Clone, Copy, Default)]
pub(super) struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    pub(super) fn of(from: &[f32]) -> Self {
        let mut lanes = [0.0; LANES];
        lanes.copy_from_slice(&from[..LANES]);
        Self(lanes)
    }

    #[inline(always)]
    pub(super) fn to(self, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for i in 0..LANES {
            self.0[i] = f(self.0[i], other.0[i]);
        }
        self
    }

    /// Numbers `step` apart.
    #[inline(always)]
    pub(super) fn strided(from: &[f32], step: usize) -> Self {
        let mut lanes = [0.0; LANES];
        for i in 0..LANES {
            lanes[i] = from[i * step];
        }
        Self(lanes)
    }

    /// The other way round.
    #[inline(always)]
    pub(super) fn to_strided(self, to: &mut [f32], step: usize) {
        for i in 0..LANES {
            to[i * step] = self.0[i];
        }
    }

    /// The first `count`, then zeros.
    #[inline(always)]
    pub(super) fn first(mut self, count: usize) -> Self {
        for i in 0..LANES {
            self.0[i] = if i < count { self.0[i] } else { 0.0 };
        }
        self
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl Mul<f32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(mut self, by: f32) -> Self {
        for i in 0..LANES {
            self.0[i] *= by;
        }
        self
    }
}

impl Neg for Lanes {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self::default() - self
    }
}

/// A map along both sides of a square.
#[inline(always)]
pub(super) fn both<T: Copy + Default, const N: usize, const M: usize>(
    square: [[T; N]; N],
    map: impl Fn([T; N]) -> [T; M],
) -> [[T; M]; M] {
    let mut half = [[T::default(); N]; M];
    for at in 0..N {
        for (half, mapped) in half.iter_mut().zip(map(column(&square, at))) {
            half[at] = mapped;
        }
    }
    let mut whole = [[T::default(); M]; M];
    for (whole, half) in whole.iter_mut().zip(half) {
        *whole = map(half);
    }
    whole
}

/// A column of some rows.
#[inline(always)]
pub(super) fn column<T: Copy + Default, const N: usize, const M: usize>(rows: &[[T; M]; N], column: usize) -> [T; N] {
    let mut values = [T::default(); N];
    for (value, row) in values.iter_mut().zip(rows) {
        *value = row[column];
    }
    values
}

/// The even and the odd ones of a line.
#[inline(always)]
pub(super) fn split(line: &[f32], even: &mut [f32], odd: &mut [f32]) {
    for ((pair, even), odd) in line.chunks_exact(2).zip(even).zip(odd) {
        (*even, *odd) = (pair[0], pair[1]);
    }
}

/// The other way round.
#[inline(always)]
pub(super) fn join(even: &[f32], odd: &[f32], line: &mut [f32]) {
    for ((pair, even), odd) in line.chunks_exact_mut(2).zip(even).zip(odd) {
        (pair[0], pair[1]) = (*even, *odd);
    }
}
