//! Gradients checked against central differences.

use std::fmt::Debug;

use candle_core::{DType, Tensor, Var};

use crate::close::{Tolerance, assert_close, to_f64};

/// Step of a central difference in `dtype`, for inputs of size about one: the cube root of the machine epsilon, where
/// the `O(h²)` truncation error meets the `O(ε/h)` rounding error.
fn step(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON.cbrt(),
        _ => f64::from(f32::EPSILON).cbrt(),
    }
}

/// `(f(x + h·e_i) − f(x − h·e_i)) / 2h` for each element `i` of `x`, as a tensor of the shape of `x` in `f64`.
///
/// `f` maps a tensor like `x` to a scalar. Two evaluations an element: for small tensors only.
fn numeric_gradient<E: Debug>(x: &Tensor, mut f: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Tensor {
    let step = step(x.dtype());
    let numbers = to_f64(x).expect("a readable tensor");
    let mut value_at = |i: usize, shift: f64| {
        let mut moved = numbers.clone();
        moved[i] += shift;
        let x = rebuild(&moved, x);
        // What was really added, after rounding to the dtype of x.
        let added = to_f64(&x).expect("a readable tensor")[i] - numbers[i];
        let value = f(&x).unwrap_or_else(|error| panic!("the function under test failed: {error:?}"));
        (to_f64(&value).expect("a scalar")[0], added)
    };
    let gradient: Vec<f64> = (0..numbers.len())
        .map(|i| {
            let (above, up) = value_at(i, step);
            let (below, down) = value_at(i, -step);
            (above - below) / (up - down)
        })
        .collect();
    Tensor::from_vec(gradient, x.shape(), &candle_core::Device::Cpu).expect("the shape of x")
}

/// Asserts that autograd's gradient of the scalar `f` at `x` is the one central differences give.
///
/// The default step allows a share of about `1e-8` in `f64` and `1e-3` in `f32`; keep `x` away from the kinks of `f`.
///
/// # Panics
/// If `f` fails, if `f(x)` does not depend on `x`, or if the two gradients differ.
#[track_caller]
pub fn check_gradient<E: Debug>(
    what: &str,
    x: &Tensor,
    tolerance: Tolerance,
    mut f: impl FnMut(&Tensor) -> Result<Tensor, E>,
) {
    let analytic = analytic_gradient(what, x, &mut f);
    let numeric = numeric_gradient(x, f);
    assert_close(what, &analytic, &numeric, tolerance);
}

/// Autograd's gradient of the scalar `f` at `x`.
#[track_caller]
fn analytic_gradient<E: Debug>(what: &str, x: &Tensor, f: &mut impl FnMut(&Tensor) -> Result<Tensor, E>) -> Tensor {
    let x = Var::from_tensor(x).expect("a variable");
    let value = f(x.as_tensor()).unwrap_or_else(|error| panic!("{what}: failed: {error:?}"));
    assert_eq!(value.elem_count(), 1, "{what}: expected a scalar, got shape {:?}", value.dims());
    let gradients = value.backward().unwrap_or_else(|error| panic!("{what}: backward failed: {error}"));
    match gradients.get(&x) {
        Some(gradient) => gradient.clone(),
        None => panic!("{what}: the value does not depend on its input, so there is no gradient to check"),
    }
}

fn rebuild(numbers: &[f64], like: &Tensor) -> Tensor {
    Tensor::from_slice(numbers, like.shape(), &candle_core::Device::Cpu)
        .and_then(|tensor| tensor.to_dtype(like.dtype()))
        .and_then(|tensor| tensor.to_device(like.device()))
        .expect("the shape and dtype of an existing tensor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn point(dtype: DType) -> Tensor {
        Tensor::new(&[[0.3f64, -1.2, 0.7], [1.1, 0.4, -0.6]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    #[test]
    fn agrees_with_the_calculus() {
        let x = point(DType::F64);
        let numeric = numeric_gradient(&x, |x| x.powf(3.0)?.sum_all());
        let exact = (x.sqr().unwrap() * 3.0).unwrap();
        assert_close("3x²", &numeric, &exact, Tolerance::elementwise(1e-8, 0.0));
    }

    #[test]
    fn works_in_both_precisions() {
        let entropy = |x: &Tensor| x.exp()?.sum_all()?.log();
        check_gradient("f64", &point(DType::F64), Tolerance::of_largest(1e-8), entropy);
        check_gradient("f32", &point(DType::F32), Tolerance::of_largest(1e-3), entropy);
    }

    #[test]
    #[should_panic(expected = "differ; worst at")]
    fn catches_a_wrong_gradient() {
        // The detached factor hides half of the derivative of x².
        check_gradient("half", &point(DType::F64), Tolerance::of_largest(1e-6), |x| (x * x.detach())?.sum_all());
    }

    #[test]
    #[should_panic(expected = "does not depend on its input")]
    fn catches_a_missing_gradient() {
        check_gradient("none", &point(DType::F64), Tolerance::of_largest(1e-6), |x| x.detach().sum_all());
    }
}
