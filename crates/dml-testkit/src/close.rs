//! Comparison of numbers: what differed, where, and by how much.

use std::fmt;

use candle_core::{DType, Tensor};

/// How far a number may lie from the expected one.
///
/// `|got − want| ≤ absolute + relative·|want| + of_largest·max|want|`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Allowed whatever the size of the numbers.
    pub absolute: f64,
    /// Allowed as a share of the expected element.
    pub relative: f64,
    /// Allowed as a share of the largest expected element: the right measure for a gradient, whose small entries are
    /// differences of large ones.
    pub of_largest: f64,
}

impl Tolerance {
    /// Each element by itself.
    pub const fn elementwise(absolute: f64, relative: f64) -> Self {
        Self { absolute, relative, of_largest: 0.0 }
    }

    /// Relative to the largest expected element, with a floor of `share · 1e-3` where all expected elements are tiny.
    pub const fn of_largest(share: f64) -> Self {
        Self { absolute: share * 1e-3, relative: 0.0, of_largest: share }
    }

    fn allowed(&self, want: f64, largest: f64) -> f64 {
        self.absolute + self.relative * want.abs() + self.of_largest * largest
    }
}

/// The worst difference between two sets of numbers that should agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Shape of the expected numbers.
    pub shape: Vec<usize>,
    /// Row-major position of the worst element.
    pub at: usize,
    /// What was computed there.
    pub got: f64,
    /// What was expected there.
    pub want: f64,
    /// How far it was allowed to be off.
    pub allowed: f64,
    /// How many elements are off by more than allowed.
    pub wrong: usize,
}

impl Difference {
    /// The worst element's index along each axis.
    pub fn index(&self) -> Vec<usize> {
        let mut rest = self.at;
        let mut index: Vec<usize> = self
            .shape
            .iter()
            .rev()
            .map(|&size| {
                let along = rest % size.max(1);
                rest /= size.max(1);
                along
            })
            .collect();
        index.reverse();
        index
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements: usize = self.shape.iter().product();
        write!(
            f,
            "{} of {elements} elements differ; worst at {:?}: got {:.9e}, want {:.9e}, off by {:.3e} where {:.3e} is allowed",
            self.wrong,
            self.index(),
            self.got,
            self.want,
            (self.got - self.want).abs(),
            self.allowed,
        )
    }
}

/// Compares row-major numbers of one shape. Two NaNs count as different: a golden never expects NaN.
///
/// # Errors
/// The worst difference, when there is one.
///
/// # Panics
/// If the two have different numbers of elements, or `shape` does not fit them: the caller's mistake, not a difference.
pub fn compare(got: &[f64], want: &[f64], shape: &[usize], tolerance: Tolerance) -> Result<(), Difference> {
    assert_eq!(got.len(), want.len(), "cannot compare {} numbers with {}", got.len(), want.len());
    assert_eq!(want.len(), shape.iter().product::<usize>(), "shape {shape:?} does not hold {} numbers", want.len());
    let largest = want.iter().fold(0.0, |largest: f64, w| largest.max(w.abs()));
    // Ordered so that NaN is the worst of all.
    let excess = |i: usize| {
        let excess = (got[i] - want[i]).abs() - tolerance.allowed(want[i], largest);
        if excess.is_nan() { f64::INFINITY } else { excess }
    };
    let wrong: Vec<usize> = (0..want.len()).filter(|&i| excess(i) > 0.0).collect();
    match wrong.iter().copied().max_by(|&a, &b| excess(a).total_cmp(&excess(b))) {
        None => Ok(()),
        Some(at) => Err(Difference {
            shape: shape.to_vec(),
            at,
            got: got[at],
            want: want[at],
            allowed: tolerance.allowed(want[at], largest),
            wrong: wrong.len(),
        }),
    }
}

/// A tensor of any shape, dtype and device as row-major `f64`.
///
/// # Errors
/// When candle cannot read it.
pub fn to_f64(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor.flatten_all()?.to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()
}

/// Asserts that two tensors have one shape and the same numbers within `tolerance`; `what` opens the message.
///
/// # Panics
/// If they do not, naming the worst element.
#[track_caller]
pub fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: Tolerance) {
    assert_eq!(got.dims(), want.dims(), "{what}: got shape {:?}, want {:?}", got.dims(), want.dims());
    let read = |tensor: &Tensor| match to_f64(tensor) {
        Ok(numbers) => numbers,
        Err(error) => panic!("{what}: cannot read the tensor: {error}"),
    };
    if let Err(difference) = compare(&read(got), &read(want), want.dims(), tolerance) {
        panic!("{what}: {difference}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_worst_element_and_counts_the_wrong_ones() {
        let want = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let got = [1.0, 2.1, 3.0, 4.5, 5.0, 6.0];
        let difference = compare(&got, &want, &[2, 3], Tolerance::elementwise(1e-3, 0.0)).unwrap_err();
        assert_eq!((difference.index(), difference.wrong), (vec![1, 0], 2));
        assert!(difference.to_string().contains("2 of 6 elements differ; worst at [1, 0]"), "{difference}");
    }

    #[test]
    fn tolerances_add_up() {
        let want = [0.0, 100.0];
        assert!(compare(&[0.9, 100.0], &want, &[2], Tolerance::of_largest(0.01)).is_ok());
        assert!(compare(&[1.1, 100.0], &want, &[2], Tolerance::of_largest(0.01)).is_err());
        assert!(compare(&[0.0, 100.9], &want, &[2], Tolerance::elementwise(0.0, 0.01)).is_ok());
        assert!(compare(&[0.1, 100.0], &want, &[2], Tolerance::elementwise(0.0, 0.01)).is_err());
    }

    #[test]
    fn nan_is_never_close() {
        let lax = Tolerance::elementwise(1e9, 1e9);
        let difference = compare(&[0.0, f64::NAN], &[0.5, 0.0], &[2], lax).unwrap_err();
        assert_eq!((difference.at, difference.wrong), (1, 1));
        assert!(compare(&[f64::NAN], &[f64::NAN], &[1], lax).is_err());
        assert!(compare(&[f64::INFINITY], &[1.0], &[1], lax).is_err());
    }
}
