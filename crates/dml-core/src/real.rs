//! The two float types of the kernels.

use num_traits::{Float, NumAssign};
use std::fmt::{Debug, Display};
use std::iter::Sum;

/// `f32` or `f64`: what a kernel computes in. Half precision is widened to `f32` before it comes here.
pub trait Real: Float + NumAssign + Sum + Debug + Display + Default + Send + Sync + 'static {
    /// The nearest number to `x`.
    fn of(x: f64) -> Self;

    /// This number in double precision.
    fn wide(self) -> f64;

    /// `e^x`, exactly 0 far below 0; written without a branch, so that a loop over a slice becomes vector instructions.
    fn fast_exp(self) -> Self;

    /// `ln x` of a positive number, written without a branch.
    fn fast_ln(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as Self
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    /// Within 2 units in the last place: `e^x = 2^n · e^r` with `|r| ≤ ln 2 / 2`, a polynomial for `e^r` (Cephes).
    #[inline(always)]
    fn fast_exp(self) -> Self {
        /// 1.5·2²³: adding it rounds to an integer, which then stands in the low bits.
        const ROUND: f32 = 12_582_912.0;
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let shifted = self * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = self - n * LN2_HIGH - n * LN2_LOW;
        let mut p = 1.987_569_1e-4f32;
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
            p = p * r + c;
        }
        let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
        let value = (p * r * r + r + 1.0) * Self::from_bits(exponent);
        let value = if self < -87.3 { 0.0 } else { value };
        if self > 88.3 { Self::INFINITY } else { value }
    }

    /// Within 2 units in the last place of a normal number: `ln x = e·ln 2 + ln m` with `√½ ≤ m < √2` (Cephes).
    #[inline(always)]
    fn fast_ln(self) -> Self {
        let bits = self.to_bits();
        let exponent = (bits >> 23) as i32 - 126;
        let half = Self::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
        let small = half < std::f32::consts::FRAC_1_SQRT_2;
        let m = if small { half + half - 1.0 } else { half - 1.0 };
        let e = (exponent - i32::from(small)) as Self;
        let mut p = 7.037_683_6e-2f32;
        for c in [
            -0.115_146_1,
            0.116_769_99,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_58,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ] {
            p = p * m + c;
        }
        let square = m * m;
        let value = m + (p * m * square - 2.121_944_4e-4 * e - 0.5 * square) + 0.693_359_4 * e;
        if self < Self::INFINITY { value } else { self }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn fast_exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn fast_ln(self) -> Self {
        self.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_exp_is_exp() {
        for i in -870..=880 {
            let x = i as f32 / 10.0;
            let want = f64::from(x).exp();
            assert!((f64::from(x.fast_exp()) - want).abs() <= 3e-7 * want, "{x}");
        }
        assert_eq!((f32::NEG_INFINITY.fast_exp(), (-1e4f32).fast_exp(), 0f32.fast_exp()), (0.0, 0.0, 1.0));
        assert_eq!(f32::INFINITY.fast_exp(), f32::INFINITY);
        assert!(f32::NAN.fast_exp().is_nan());
    }

    #[test]
    fn fast_ln_is_ln() {
        for i in 1..4000 {
            for x in [i as f32 / 1000.0, i as f32 * 1e7, i as f32 * 1e-20] {
                let want = f64::from(x).ln();
                assert!((f64::from(x.fast_ln()) - want).abs() <= 2e-7 * want.abs().max(0.5), "{x}");
            }
        }
        assert_eq!((1f32.fast_ln(), f32::INFINITY.fast_ln()), (0.0, f32::INFINITY));
        assert!(f32::NAN.fast_ln().is_nan());
    }
}
