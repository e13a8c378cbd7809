//! Numbers from the bytes of a file.

use half::{bf16, f16};
use std::borrow::Cow;

/// How a floating-point number is stored. Little-endian unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Float {
    F16,
    Bf16,
    F32,
    BigEndianF32,
    F64,
}

impl Float {
    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::BigEndianF32 => 4,
            Self::F64 => 8,
        }
    }

    /// The numbers in `bytes`, borrowed where they lie there as this machine has them. `f64` is rounded to `f32`.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, [f32]> {
        if self == Self::F32
            && cfg!(target_endian = "little")
            && let Ok(values) = bytemuck::try_cast_slice(bytes)
        {
            return Cow::Borrowed(values);
        }
        Cow::Owned(match self {
            Self::F16 => numbers(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => numbers(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::F32 => numbers(bytes, f32::from_le_bytes),
            Self::BigEndianF32 => numbers(bytes, f32::from_be_bytes),
            Self::F64 => numbers(bytes, |b| f64::from_le_bytes(b) as f32),
        })
    }
}

/// How a whole number or a truth value is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Integer {
    /// Bytes of one number: 1, 2, 4 or 8.
    pub(super) size: usize,
    pub(super) signed: bool,
    pub(super) big_endian: bool,
}

impl Integer {
    /// The numbers in `bytes`, exact.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<i128> {
        bytes.chunks_exact(self.size).map(|number| self.value(number)).collect()
    }

    fn value(self, number: &[u8]) -> i128 {
        let shift = |value: u64, &byte: &u8| (value << 8) | u64::from(byte);
        let value = if self.big_endian { number.iter().fold(0, shift) } else { number.iter().rev().fold(0, shift) };
        let unused = 64 - 8 * self.size as u32;
        if self.signed { i128::from((value << unused).cast_signed() >> unused) } else { i128::from(value) }
    }
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|b| number(*b)).collect()
}
