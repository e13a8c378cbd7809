//! Distance in the Poincaré ball of curvature `−c`: from products of points to scores, and from scores to derivatives.
//!
//! With `q = ‖a−b‖²` and `D = 1 − 2c·a·b + c²‖a‖²‖b‖²` the distance is `s = (2/√c) artanh t`, `t² = c·q/D`. Since
//! `(1 − t²)·D = (1 − c‖a‖²)(1 − c‖b‖²)`, its derivatives need no more than s and the norms.

use crate::Real;
use crate::scores::CANCELLED;

/// Below this, a series of four terms is exact: `ε^{1/8}`.
#[inline(always)]
fn short<T: Real>() -> T {
    T::of(if size_of::<T>() > 4 { 0.011 } else { 0.136 })
}

/// `2 artanh t`, to the last digits however small.
#[inline(always)]
fn twice_artanh<T: Real>(t: T) -> T {
    let square = t * t;
    let series = T::of(2.0 / 3.0) + square * (T::of(2.0 / 5.0) + square * T::of(2.0 / 7.0));
    let series = t * (T::of(2.0) + square * series);
    // Rounding may lead out of the ball: infinitely far.
    let t = if t > T::one() { T::one() } else { t };
    let log = ((T::one() + t) / (T::one() - t)).fast_ln();
    if t < short() { series } else { log }
}

/// `tanh(x/2)` of `x ≥ 0`, to the last digits however small.
#[inline(always)]
fn tanh_half<T: Real>(x: T) -> T {
    let y = T::of(0.5) * x;
    let square = y * y;
    let series = T::of(-1.0 / 3.0) + square * (T::of(2.0 / 15.0) - square * T::of(17.0 / 315.0));
    let series = y + y * square * series;
    // Beyond 40 it is 1, and no power is infinite.
    let bounded = if x > T::of(40.0) { T::of(40.0) } else { x };
    let e = bounded.fast_exp();
    let quotient = (e - T::one()) / (e + T::one());
    if y < short() { series } else { quotient }
}

/// The distance from `q`, `a·b` and the squares of the norms.
#[inline(always)]
pub(crate) fn distance<T: Real>(c: f64, square: T, dot: T, aa: T, bb: T) -> T {
    let (root, c, one) = (T::of(c.sqrt()), T::of(c), T::one());
    let t = root * (square / (one - (c + c) * dot + c * c * aa * bb)).sqrt();
    twice_artanh(t) / root
}

/// Whether a pair at distance `score` is so near that it is pulled back by subtraction. `score ≥ 2‖a−b‖`, so it is near
/// indeed.
#[inline(always)]
pub(crate) fn near<T: Real>(score: T, aa: T, bb: T) -> bool {
    score * score < T::of(4.0 * CANCELLED) * (aa + bb)
}

/// Derivatives of the distance.
pub(crate) struct Slopes<T> {
    /// By q.
    pub(crate) by_square: T,
    /// By `a·b`, with its share in q unless the pair is near.
    pub(crate) by_dot: T,
    /// By `‖a‖²`, likewise.
    pub(crate) by_aa: T,
    /// By `‖b‖²`, likewise.
    pub(crate) by_bb: T,
}

impl<T: Real> Slopes<T> {
    /// Of a pair at distance `score`; all 0 at distance 0.
    #[inline(always)]
    pub(crate) fn new(c: T, score: T, aa: T, bb: T) -> Self {
        let (root, one, two) = (c.sqrt(), T::one(), T::of(2.0));
        let t = tanh_half(root * score);
        let by_square = root / (t * (one - c * aa) * (one - c * bb));
        let by_square = if t == T::zero() { T::zero() } else { by_square };
        // D falls by t²·by_square of what it grows.
        let far = if near(score, aa, bb) { T::zero() } else { one };
        let square = t * t;
        Self {
            by_square,
            by_dot: two * by_square * (square - far),
            by_aa: by_square * (far - c * bb * square),
            by_bb: by_square * (far - c * aa * square),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_arguments_keep_their_digits() {
        for k in 0..60 {
            let x = 2f64.powi(-k) * 1.9;
            let (artanh, tanh) = (2.0 * (x / 2.0).atanh(), (x / 2.0).tanh());
            assert!((twice_artanh(x / 2.0) - artanh).abs() <= 4e-15 * artanh, "{x}");
            assert!((tanh_half(x) - tanh).abs() <= 4e-15 * tanh, "{x}");
            let x = x as f32;
            assert!((f64::from(twice_artanh(x / 2.0)) - artanh).abs() <= 2e-6 * artanh, "{x}");
            assert!((f64::from(tanh_half(x)) - tanh).abs() <= 1e-6 * tanh, "{x}");
        }
        assert_eq!((twice_artanh(0f32), twice_artanh(1.5f32), tanh_half(1e9f32)), (0.0, f32::INFINITY, 1.0));
        assert!(twice_artanh(f64::NAN).is_nan() && tanh_half(f64::NAN).is_nan());
    }
}
