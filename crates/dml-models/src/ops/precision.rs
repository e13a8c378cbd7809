//! How exactly linear layers multiply.

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
