//! How many stand above a positive, counted by smooth steps: the middle of the ranking losses.
//!
//! `Σ_z H(s_z − s_p)` costs an exponential for each pair of a positive and a column. But steps are steep (τ = 0.01 of
//! cosines), so most gaps are on their flat parts: columns are taken in blocks, and a block whose extremes are both on the
//! same flat part is counted without being looked at.

use crate::Result;
use crate::composed::sigmoid;
use candle_core::{DType, Tensor};
use dml_core::{Real, Row, vector};

/// Columns of a block.
const BLOCK: usize = 64;

/// A smooth step of the gap `s_z − s_p`.
pub(super) trait Step<T> {
    /// Value and derivative.
    fn at(&self, gap: T) -> (T, T);

    /// To rounding it is 0 below the first of these gaps, and 1 above the second.
    fn flat(&self) -> (T, T);
}

/// `σ(gap/τ)`, and exactly 0 where it is less than the square of a rounding error: so a term of which nothing is left is
/// 0 however it was counted.
pub(super) struct Sigmoid<T> {
    scale: T,
    /// Exponent at which that is.
    reach: T,
}

/// The exponent at which `e^−x` is the square of a rounding error.
fn reach(epsilon: f64) -> f64 {
    -2.0 * epsilon.ln()
}

impl<T: Real> Sigmoid<T> {
    pub(super) fn new(temperature: f64) -> Self {
        Self { scale: T::of(1.0 / temperature), reach: T::of(reach(T::epsilon().wide())) }
    }

    /// The gap beyond which it is 0 or 1.
    pub(super) fn reach(&self) -> T {
        self.reach / self.scale
    }
}

impl<T: Real> Step<T> for Sigmoid<T> {
    #[inline(always)]
    fn at(&self, gap: T) -> (T, T) {
        let x = -self.scale * gap;
        let e = x.fast_exp();
        let value = (T::one() + e).recip();
        // e·value is 1 − value, without its cancellation.
        let slope = self.scale * (e * value) * value;
        if x > self.reach { (T::zero(), T::zero()) } else { (value, slope) }
    }

    fn flat(&self) -> (T, T) {
        (-self.reach(), self.reach())
    }
}

/// Scores that may stand above.
pub(super) struct Field<T> {
    scores: Vec<T>,
    /// Smallest and largest score of each block.
    extremes: Vec<(T, T)>,
}

/// The slopes of a count.
pub(super) struct Slopes<T> {
    /// Where the blocks begin that were not flat.
    open: Vec<usize>,
    /// Slopes at the gaps of those blocks, one after the other.
    values: Vec<T>,
}

impl<T> Default for Slopes<T> {
    fn default() -> Self {
        Self { open: Vec::new(), values: Vec::new() }
    }
}

impl<T: Real> Field<T> {
    /// Of scores; `−∞` stands above nothing.
    #[inline(always)]
    pub(super) fn new(scores: Vec<T>) -> Self {
        let extremes = |block: &[T]| {
            let (mut low, mut high, mut sound) = ([T::infinity(); 8], [T::neg_infinity(); 8], true);
            let mut take = |k: usize, v: T| {
                low[k] = if v < low[k] { v } else { low[k] };
                high[k] = if v > high[k] { v } else { high[k] };
                // `&`, not `&&`: no branch.
                sound &= !v.is_nan();
            };
            let chunks = block.chunks_exact(8);
            chunks.remainder().iter().for_each(|&v| take(0, v));
            for chunk in chunks {
                (0..8).for_each(|k| take(k, chunk[k]));
            }
            let (low, high) = (vector::smallest(&low), vector::largest(&high));
            // What is not a number must be looked at, so that it shows.
            if sound { (low, high) } else { (T::neg_infinity(), T::infinity()) }
        };
        let extremes = scores.chunks(BLOCK).map(extremes).collect();
        Self { scores, extremes }
    }

    /// Of a row's negatives.
    #[inline(always)]
    pub(super) fn of_negatives(row: &Row<'_, T>) -> Self {
        let mut scores = vec![T::zero(); row.scores.len()];
        row.only_negatives(T::neg_infinity(), &mut scores);
        Self::new(scores)
    }

    /// `Σ step(s − centre)`, with its slopes.
    #[inline(always)]
    pub(super) fn count(&self, step: &impl Step<T>, centre: T, slopes: &mut Slopes<T>) -> f64 {
        let (low, high) = step.flat();
        let (low, high) = (centre + low, centre + high);
        slopes.open.clear();
        slopes.values.clear();
        let mut total = 0.0;
        for (k, (scores, &(least, most))) in self.scores.chunks(BLOCK).zip(&self.extremes).enumerate() {
            if most < low {
                continue;
            }
            if least > high {
                total += scores.len() as f64;
                continue;
            }
            let (mut values, mut by_gap) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
            for ((value, slope), &score) in values.iter_mut().zip(&mut by_gap).zip(scores) {
                (*value, *slope) = step.at(score - centre);
            }
            total += vector::sum(&values);
            slopes.open.push(k * BLOCK);
            slopes.values.extend_from_slice(&by_gap);
        }
        total
    }

    /// The same of all scores but the `k`-th, from that one: `Σ_{z≠k} step(s_z − s_k)`.
    #[inline(always)]
    pub(super) fn count_from(&mut self, step: &impl Step<T>, k: usize, slopes: &mut Slopes<T>) -> f64 {
        let centre = std::mem::replace(&mut self.scores[k], T::neg_infinity());
        // The extremes may stay: a block that holds the centre is not flat.
        let total = self.count(step, centre, slopes);
        self.scores[k] = centre;
        total
    }
}

impl<T: Real> Slopes<T> {
    /// Adds `factor` times the derivative of the count by each score to `gradient`. Returns that by the centre, times
    /// `factor`.
    #[inline(always)]
    pub(super) fn pull(&self, factor: f64, gradient: &mut [T]) -> T {
        let (by, mut total) = (T::of(factor), 0.0);
        for (&start, slopes) in self.open.iter().zip(self.values.chunks_exact(BLOCK)) {
            total += vector::sum(slopes);
            gradient[start..].iter_mut().zip(slopes).for_each(|(g, &slope)| *g += by * slope);
        }
        T::of(-factor * total)
    }
}

/// [`Sigmoid`] as candle operations.
///
/// # Errors
/// When a tensor operation fails.
pub(super) fn compose(gaps: &Tensor, temperature: f64) -> Result<Tensor> {
    let reach = reach(if gaps.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() });
    let x = (gaps / temperature)?;
    Ok(x.lt(-reach)?.where_cond(&x.zeros_like()?, &sigmoid(&x, reach)?)?)
}

/// The score of an anchor with itself, by cosine: a constant, and 1 but for a row of zeros, whose cosines are all 0.
#[inline(always)]
pub(super) fn own_score<T: Real>(scores: &[T]) -> T {
    if scores.iter().all(|&s| s == T::zero()) { T::zero() } else { T::one() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With scores on both flat parts, between them, and none at all.
    #[test]
    fn blocks_that_are_skipped_are_as_if_they_were_not() {
        let scores: Vec<f64> =
            (0..400).map(|i| if i % 97 == 0 { f64::NEG_INFINITY } else { f64::from(i) / 200.0 - 1.0 }).collect();
        let step = Sigmoid::new(0.002);
        let (mut field, mut slopes) = (Field::new(scores.clone()), Slopes::default());
        for centre in [-0.9, 0.0, 0.55] {
            let sigmoid = |s: f64| 1.0 / (1.0 + ((centre - s) / 0.002).exp());
            let want: f64 = scores.iter().map(|&s| sigmoid(s)).sum();
            assert!((field.count(&step, centre, &mut slopes) - want).abs() < 1e-12 * want);
            assert!(slopes.open.len() < 7);
            let mut gradient = vec![0.0; 400];
            let at_centre = slopes.pull(2.0, &mut gradient);
            let slope = |s: f64| 1000.0 * sigmoid(s) * (1.0 - sigmoid(s));
            assert!(gradient.iter().zip(&scores).all(|(g, &s)| (g - slope(s)).abs() < 1e-11));
            assert!((at_centre + scores.iter().map(|&s| slope(s)).sum::<f64>()).abs() < 1e-9);
        }
        let with_itself = field.count(&step, scores[150], &mut slopes);
        assert!((field.count_from(&step, 150, &mut slopes) - (with_itself - 0.5)).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_a_number_shows_from_far_away() {
        let mut scores = vec![-1f32; 200];
        scores[70] = f32::NAN;
        assert!(Field::new(scores).count(&Sigmoid::new(0.01), 1.0, &mut Slopes::default()).is_nan());
    }
}
