//! What every step of a [`Pipeline`](super::Pipeline) can do.

use super::resize::Scaling;
use crate::{Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::fmt::Debug;

/// A change of one image, drawn from a generator.
pub(super) trait Transform {
    /// Refuses values outside their range: key, value and what to give.
    fn check(&self) -> Result<(), String>;

    /// `[height, width]` of the result for images of the sides `before`; `None` where they differ.
    fn sides(&self, before: Option<[usize; 2]>) -> Option<[usize; 2]> {
        before
    }

    /// For a step that scales: the part of an image of `[height, width]`, and what it is scaled to. Draws what
    /// [`apply`](Transform::apply) would draw.
    fn scaling(&self, _sides: [usize; 2], _rng: &mut ChaCha8Rng) -> Option<Scaling> {
        None
    }

    /// The changed image.
    fn apply(&self, image: Image, rng: &mut ChaCha8Rng) -> Result<Image>;
}

/// Says of `key` that its `value` does not fit and what to give, unless it `fits`.
pub(super) fn rule(fits: bool, key: &str, value: impl Debug, mend: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("{key} = {value:?}: give {mend}")) }
}

/// Whether `[low, high]` is a range within `from..=to`.
pub(super) fn is_range([low, high]: [f64; 2], from: f64, to: f64) -> bool {
    from <= low && low <= high && high <= to
}

/// [`rule`] for a probability.
pub(super) fn probability(key: &str, value: f64) -> Result<(), String> {
    rule((0.0..=1.0).contains(&value), key, value, "a probability in 0..=1")
}

/// [`rule`] for the sides of a result.
pub(super) fn above_zero(key: &str, sides: &[usize]) -> Result<(), String> {
    rule(sides.iter().all(|side| (1..=LARGEST_SIDE).contains(side)), key, sides, "sides in 1..=16384")
}

/// Largest side of a result, as of a decoded image.
const LARGEST_SIDE: usize = 16_384;

/// True with this `probability`: always at 1, never at 0.
pub(super) fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// Uniform in `low..=high`.
pub(super) fn uniform(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    rng.random_range(low..=high)
}

/// Uniform in the logarithm, for ratios: 1:2 is as likely as 2:1.
pub(super) fn log_uniform(rng: &mut ChaCha8Rng, range: [f64; 2]) -> f64 {
    uniform(rng, range.map(f64::ln)).exp()
}
