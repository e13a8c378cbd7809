//! Loops over slices that compilers turn into vector instructions: what row objectives are made of.

use crate::Real;

/// Numbers summed in lanes before the sum is widened: keeps the error of a long row small.
const BLOCK: usize = 256;
const LANES: usize = 16;

/// `f`, compiled for the widest vector instructions that this machine has. It must be `#[inline(always)]`, and what it
/// calls: a closure that is called is compiled for the narrowest.
/// Wider vectors do the same operations on the same numbers, so results are the same.
#[inline(always)]
pub fn widest<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `Σ f(x)` in `f64`, each block of numbers in lanes of `T`.
#[inline(always)]
pub fn sum_of<T: Real>(x: &[T], f: impl Fn(T) -> T) -> f64 {
    let mut total = 0f64;
    for block in x.chunks(BLOCK) {
        let mut lanes = [T::zero(); LANES];
        let chunks = block.chunks_exact(LANES);
        let mut rest = T::zero();
        for &v in chunks.remainder() {
            rest += f(v);
        }
        for chunk in chunks {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                *lane += f(v);
            }
        }
        total += (lanes.iter().copied().sum::<T>() + rest).wide();
    }
    total
}

/// `Σ x`.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> f64 {
    sum_of(x, |v| v)
}

/// `Σ x·y`, each block of numbers in lanes of `T`.
#[inline(always)]
pub fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    x.chunks(BLOCK).zip(y.chunks(BLOCK)).map(|(x, y)| crate::device::cpu::dot(x, y).wide()).sum()
}

/// Largest number; `−∞` of nothing. NaN is passed over: it shows in the sums.
#[inline(always)]
pub fn largest<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::neg_infinity(); LANES];
    let chunks = x.chunks_exact(LANES);
    let mut best = T::neg_infinity();
    for &v in chunks.remainder() {
        best = if v > best { v } else { best };
    }
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.into_iter().fold(best, |a, b| if b > a { b } else { a })
}

/// Smallest number; `∞` of nothing.
#[inline(always)]
pub fn smallest<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::infinity(); LANES];
    let chunks = x.chunks_exact(LANES);
    let mut best = T::infinity();
    for &v in chunks.remainder() {
        best = if v < best { v } else { best };
    }
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v < *lane { v } else { *lane };
        }
    }
    lanes.into_iter().fold(best, |a, b| if b < a { b } else { a })
}

/// `x ← e^{scale·x − shift}`; returns the sum.
#[inline(always)]
pub fn exp_sum<T: Real>(x: &mut [T], scale: T, shift: T) -> f64 {
    let mut total = 0f64;
    for block in x.chunks_mut(BLOCK) {
        for v in block.iter_mut() {
            *v = (scale * *v - shift).fast_exp();
        }
        total += sum(block);
    }
    total
}

/// `x ← factor·x`.
#[inline(always)]
pub fn scale<T: Real>(x: &mut [T], factor: T) {
    for v in x {
        *v *= factor;
    }
}

/// `[x]+` and its derivative, 0 at 0; what is not a number stays.
#[inline(always)]
pub fn hinge<T: Real>(x: T) -> (T, T) {
    if x <= T::zero() { (T::zero(), T::zero()) } else { (x, T::one()) }
}

/// Adds the slope of `term`, which is a value and its slope, at each of `x` to `slopes`; returns the sum of the values, and how
/// many slopes are not 0.
#[inline(always)]
pub fn sweep<T: Real>(x: &[T], slopes: &mut [T], term: impl Fn(T) -> (T, T)) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    let (mut values, mut steps) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
    for (x, slopes) in x.chunks(BLOCK).zip(slopes.chunks_mut(BLOCK)) {
        let (values, steps) = (&mut values[..x.len()], &mut steps[..x.len()]);
        for ((value, step), &x) in values.iter_mut().zip(steps.iter_mut()).zip(x) {
            (*value, *step) = term(x);
        }
        sum += self::sum(values);
        count += sum_of(steps, |step| if step == T::zero() { T::zero() } else { T::one() });
        for (slope, &step) in slopes.iter_mut().zip(steps.iter()) {
            *slope += step;
        }
    }
    (sum, count)
}

/// `log(1 + e^x)` and its derivative, without overflow and to the last digits however small; branchless, so that a loop
/// over a slice becomes vector instructions.
#[inline(always)]
pub fn softplus<T: Real>(x: T) -> (T, T) {
    /// Terms of `artanh s / s = Σ s^{2k}/(2k + 1)` for the digits of either type, s being at most 1/3.
    const TERMS: [usize; 2] = [7, 16];
    let e = (-x.abs()).fast_exp();
    let s = e / (T::of(2.0) + e);
    let square = s * s;
    let mut series = T::zero();
    for k in (0..TERMS[usize::from(size_of::<T>() > 4)]).rev() {
        series = series * square + T::of(1.0 / (2 * k + 1) as f64);
    }
    // log(1 + e) = 2 artanh(e/(2 + e)).
    let log = T::of(2.0) * s * series;
    let slope = (T::one() + e).recip();
    if x > T::zero() { (x + log, slope) } else { (log, e * slope) }
}

/// `log(extra + Σ e^{scale·x})` of the numbers, which become their shares `e^{scale·x}/(extra + Σ)`.
///
/// `extra` is 0 or 1: the literal 1 of `log(1 + Σ)`. Of no numbers (or only `scale·x = −∞`) and `extra = 0` it is `−∞`
/// with shares 0.
#[inline(always)]
pub fn log_sum_exp<T: Real>(x: &mut [T], scale: T, extra: T) -> f64 {
    let most = if scale >= T::zero() { scale * largest(x) } else { scale * smallest(x) };
    let top = if extra > T::zero() && most <= T::zero() { T::zero() } else { most };
    if top == T::neg_infinity() {
        // Not where NaN hides: it must come out.
        let lost = x.iter().any(|v| v.is_nan());
        x.fill(if lost { T::nan() } else { T::zero() });
        return if lost { f64::NAN } else { f64::NEG_INFINITY };
    }
    let (sum, rest) = (exp_sum(x, scale, top), extra.wide() * (-top).exp().wide());
    self::scale(x, T::of(1.0 / (sum + rest)));
    // Of `log(1 + Σ)` the digits of a small Σ are kept.
    top.wide() + if rest == 1.0 { sum.ln_1p() } else { (sum + rest).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sum_exp_of_known_numbers() {
        let x: Vec<f64> = (0..37).map(|i| f64::from(i * 7 % 11) - 5.0).collect();
        for (scale, extra) in [(1.0, 0.0), (-2.0, 0.0), (50.0, 1.0), (-1.0, 1.0)] {
            let total = x.iter().map(|v| (scale * v).exp()).sum::<f64>() + extra;
            let mut shares = x.clone();
            assert!((log_sum_exp(&mut shares, scale, extra) - total.ln()).abs() < 1e-12);
            assert!(shares.iter().zip(&x).all(|(s, v)| (s - (scale * v).exp() / total).abs() < 1e-12));
        }
        assert_eq!(log_sum_exp(&mut [-50f64], 1.0, 1.0), (-50f64).exp());
        let (mut none, mut masked) = ([0f32; 0], [f32::NEG_INFINITY; 3]);
        assert_eq!(log_sum_exp(&mut none, 1.0, 1.0), 0.0);
        assert_eq!(log_sum_exp(&mut masked, 2.0, 0.0), f64::NEG_INFINITY);
        assert_eq!(masked, [0.0; 3]);
        assert!(log_sum_exp(&mut [f32::NAN], 1.0, 0.0).is_nan());
    }

    #[test]
    fn softplus_keeps_its_digits() {
        for i in -800..=800 {
            let x = f64::from(i) / 10.0;
            let (want, slope) = (x.max(0.0) + (-x.abs()).exp().ln_1p(), 1.0 / (1.0 + (-x).exp()));
            let (value, derivative) = softplus(x);
            assert!((value - want).abs() <= 1e-15 * want && (derivative - slope).abs() <= 1e-15 * slope, "{x}");
            let x = x as f32;
            let (want, (value, _)) = (f64::from(x).max(0.0) + (-f64::from(x).abs()).exp().ln_1p(), softplus(x));
            assert!((f64::from(value) - want).abs() <= 5e-7 * want, "{x}");
        }
        assert_eq!(softplus(f32::INFINITY), (f32::INFINITY, 1.0));
        assert_eq!(softplus(f32::NEG_INFINITY), (0.0, 0.0));
        assert!(softplus(f32::NAN).0.is_nan());
    }

    #[test]
    fn sums_and_extremes() {
        let x: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) / 10.0).collect();
        assert!((sum(&x) + 50.0).abs() < 1e-2);
        assert_eq!((largest(&x), smallest(&x)), (49.9, -50.0));
        assert_eq!(largest::<f32>(&[]), f32::NEG_INFINITY);
    }
}
