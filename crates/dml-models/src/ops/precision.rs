//! How exactly linear layers multiply.

use super::slice::PIECE;
use super::vector::widest;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// What the matrix products of linear layers, forth and back, take of their operands. All else — sums, convolutions, attention, norms,
/// weights, what an optimiser keeps — stays `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// All 24 bits.
    #[default]
    F32,
    /// The nearest bf16, of 8 bits; products and their sums are of `f32` again, as PyTorch's autocast has them. Faster where the device
    /// has instructions for it: Intel's matrix unit, recent GPUs. Elsewhere on a CPU the numbers are the same, later.
    Bf16,
}

thread_local! {
    static NOW: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// Runs `f`, whose linear layers multiply so as far as the calling thread asks for them.
    pub fn during<R>(self, f: impl FnOnce() -> R) -> R {
        /// What was before, however `f` ends.
        struct Before(Precision);

        impl Drop for Before {
            fn drop(&mut self) {
                NOW.set(self.0);
            }
        }

        let _before = Before(NOW.replace(self));
        f()
    }

    /// That of the calling thread.
    pub(crate) fn now() -> Self {
        NOW.get()
    }
}

/// The bf16 nearest to `x`, the one away from 0 of two as near. NaN stays.
#[inline(always)]
pub(crate) fn nearest_bf16(x: f32) -> f32 {
    let nearest = f32::from_bits(x.to_bits().wrapping_add(0x8000) & 0xffff_0000);
    if x.is_nan() { x } else { nearest }
}

/// The bf16s nearest to `x`, as the upper halves of their numbers.
pub(crate) fn halves(x: &[f32]) -> Vec<u16> {
    /// Lest a NaN become ∞ without its lower half.
    const QUIET: u32 = 0x0040_0000;
    let mut halves = vec![0; x.len()];
    halves.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(halves, x)| {
        widest(
            #[inline(always)]
            || {
                for (half, &x) in halves.iter_mut().zip(x) {
                    let quiet = if x.is_nan() { QUIET } else { 0 };
                    *half = ((nearest_bf16(x).to_bits() | quiet) >> 16) as u16;
                }
            },
        );
    });
    halves
}

/// The numbers of [`halves`].
pub(crate) fn of_halves(halves: &[u16]) -> Vec<f32> {
    let mut x = vec![0.0; halves.len()];
    x.par_chunks_mut(PIECE).zip(halves.par_chunks(PIECE)).for_each(|(x, halves)| {
        widest(
            #[inline(always)]
            || x.iter_mut().zip(halves).for_each(|(x, &half)| *x = f32::from_bits(u32::from(half) << 16)),
        );
    });
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_nearest_bf16s() {
        let x: Vec<f32> = (0..40_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))).collect();
        let near = of_halves(&halves(&x));
        assert!(x.iter().any(|x| x.is_nan()) && x.iter().any(|x| x.is_subnormal()));
        for (&x, &near) in x.iter().zip(&near) {
            assert!(if x.is_nan() { near.is_nan() } else { near == nearest_bf16(x) }, "{x} {near}");
        }
        // To a bf16 it is itself that is nearest: what was rounded once is not moved again.
        assert!(near.iter().all(|&x| x.is_nan() || nearest_bf16(x) == x));
    }
}
