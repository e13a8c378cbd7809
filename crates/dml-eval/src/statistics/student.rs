//! Interval of the mean of independent values.

use super::std;

/// Half-width of the 95 % confidence interval of the mean, `t·s/√n` with Student's t of n − 1 degrees of freedom; NaN of
/// fewer than two values.
pub fn ci95(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 2 {
        return f64::NAN;
    }
    t975((n - 1) as f64) * std(values) / (n as f64).sqrt()
}

/// 97.5 % quantile of Student's t.
pub(crate) fn t975(freedom: f64) -> f64 {
    // The density gets too narrow for the steps of the integral, and normal: Fisher's expansion is good to 1e-9 here.
    if freedom > 1000.0 {
        let z = super::wilson::Z975;
        let first = (z.powi(3) + z) / (4.0 * freedom);
        return z + first + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom * freedom);
    }
    // By bisection on the distribution function.
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if central_mass(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// `P(|T| < t)`: Simpson's rule over the angle `θ = atan(t/√ν)`, where the density is `cos^{ν−1} θ`.
fn central_mass(t: f64, freedom: f64) -> f64 {
    let integral = |to: f64| {
        let steps = 2000;
        let h = to / f64::from(steps);
        let f = |i: i32| (h * f64::from(i)).cos().max(0.0).powf(freedom - 1.0);
        let inner: f64 = (1..steps).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(0) + inner + f(steps)) * h / 3.0
    };
    integral((t / freedom.sqrt()).atan()) / integral(std::f64::consts::FRAC_PI_2)
}

#[cfg(test)]
mod tests {
    use super::super::{mean, std};
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, t) in [(1.0, 12.706), (2.0, 4.303), (4.0, 2.776), (10.0, 2.228), (100.0, 1.984)] {
            assert!((t975(freedom) - t).abs() < 2e-3, "{freedom}: {}", t975(freedom));
        }
    }

    #[test]
    fn both_ways_to_a_quantile_meet() {
        assert!((t975(1000.0) - t975(1000.001)).abs() < 1e-7, "{} {}", t975(1000.0), t975(1000.001));
    }

    #[test]
    fn interval_of_three_values() {
        assert_eq!((mean(&[1.0, 2.0, 3.0]), std(&[1.0, 2.0, 3.0])), (2.0, 1.0));
        assert!((ci95(&[1.0, 2.0, 3.0]) - 4.303 / 3f64.sqrt()).abs() < 1e-2);
    }
}
