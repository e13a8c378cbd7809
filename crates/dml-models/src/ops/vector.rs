//! Loops over slices that compilers turn into vector instructions, and functions that may stand in them.

/// `f`, compiled for the widest vector instructions of this machine. It must be `#[inline(always)]`, and what it calls: a closure
/// that is called is compiled for the narrowest. Wider vectors do the same operations on the same numbers, so results are the same.
#[inline(always)]
pub(crate) fn widest<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Lanes of a sum: a fixed order that compilers may vectorise.
const LANES: usize = 16;
/// Numbers summed in lanes before the sum is widened.
const BLOCK: usize = 1024;

/// `Σ f(i)` for `i` below `n`, in a fixed order.
#[inline(always)]
pub(crate) fn sum_over(n: usize, f: impl Fn(usize) -> f32) -> f64 {
    let mut total = 0f64;
    let mut start = 0;
    while start < n {
        let end = (start + BLOCK).min(n);
        let mut lanes = [0f32; LANES];
        let whole = start + (end - start) / LANES * LANES;
        let mut at = start;
        while at < whole {
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane += f(at + i);
            }
            at += LANES;
        }
        for i in whole..end {
            lanes[i - whole] += f(i);
        }
        // By halves: one after the other they would take longer than a short row.
        let mut sums = [0f64; LANES];
        for i in 0..LANES {
            sums[i] = f64::from(lanes[i]);
        }
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
            half /= 2;
        }
        total += sums[0];
        start = end;
    }
    total
}

/// The largest number of `row`, `-∞` if there is none. NaN is passed over.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    let mut all = f32::NEG_INFINITY;
    for &v in lanes.iter().chain(rest) {
        all = larger(all, v);
    }
    all
}

/// `f` of every number of `row`. Those that fill no vector are computed as if they did.
#[inline(always)]
pub(crate) fn replace(row: &mut [f32], f: impl Fn(f32) -> f32) {
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for v in chunk {
            *v = f(*v);
        }
    }
    let mut last = [0f32; LANES];
    for (to, &v) in last.iter_mut().zip(&*rest) {
        *to = v;
    }
    for v in &mut last {
        *v = f(*v);
    }
    for (to, &v) in rest.iter_mut().zip(&last) {
        *to = v;
    }
}

/// `eˣ` within 2 units in the last place: Cephes' polynomial after a reduction by powers of two. Small results become 0.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // NaN stays: neither comparison holds.
    let x = if x > 88.0 { 88.0 } else { x };
    let low = x < -87.0;
    let x = if low { -87.0 } else { x };
    // The nearest whole number, without a call of `round`.
    let magic = 12_582_912.0f32;
    let shifted = x * std::f32::consts::LOG2_E + magic;
    let n = shifted - magic;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_2e-4f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // 2ⁿ, by its bits: the last ones of `shifted` are those of n.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if low { 0.0 } else { y * power }
}

#[allow(clippy::excessive_precision, reason = "the digits of the source")]
/// The error function within 4 units in the last place: a quotient of polynomials, as in XLA and Eigen.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = if x > 3.832_507 { 3.832_507 } else { x };
    let x = if x < -3.832_507 { -3.832_507 } else { x };
    let s = x * x;
    let mut p = -2.726_142_3e-10f32;
    p = p * s + 2.770_681_4e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906_3e-4;
    p = p * s - 2.954_599_8e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5f32;
    q = q * s - 2.133_740_6e-4;
    q = q * s - 1.682_827_e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_near_those_of_the_library() {
        for i in -40_000..40_000 {
            let x = i as f32 * 0.0022;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) - want).abs() <= 3e-7 * want + 1e-37, "exp({x}) = {}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!((exp(0.0), exp(-1000.0), sigmoid(1000.0)), (1.0, 0.0, 1.0));
        assert!(sigmoid(-1000.0) < 1e-37);
        // Values of NIST's tables.
        for (x, want) in [(0.0, 0.0), (0.1, 0.112_462_92), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3)] {
            assert!((erf(x) - want).abs() < 3e-7 && (erf(-x) + want).abs() < 3e-7, "erf({x}) = {}", erf(x));
        }
        assert!((erf(4.0) - 1.0).abs() < 2e-7);
    }

    #[test]
    fn rows_of_any_length_are_replaced_and_searched_whole() {
        for n in [0, 1, 15, 16, 17, 40] {
            let row: Vec<f32> = (0..n).map(|i| (i * 7 % 11) as f32 - 20.0).collect();
            let want = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&row), want);
            let mut twice = row.clone();
            replace(&mut twice, |v| 2.0 * v);
            assert_eq!(twice, row.iter().map(|v| 2.0 * v).collect::<Vec<f32>>());
        }
        assert_eq!(largest(&[f32::NAN, 1.0]), 1.0);
    }

    #[test]
    fn sums_are_those_of_a_plain_loop() {
        for n in [0, 1, 15, 16, 17, 1023, 1024, 1025, 5000] {
            let want: f64 = (0..n).map(|i| f64::from(i as f32 * 0.5)).sum();
            assert!((sum_over(n, |i| i as f32 * 0.5) - want).abs() <= 1e-6 * want);
        }
    }
}
