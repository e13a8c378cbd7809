//! Score matrices from candle's operations: on every device and differentiable, for losses of one's own.

use crate::{Metric, Projection, Result};
use candle_core::{D, Tensor};

/// Rows divided by their norm; rows of zeros stay zeros, with gradient 0.
///
/// # Errors
/// When a tensor operation fails.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    Projection::Unit.compose(x)
}

/// `x` where it is above `least`, else 0 with gradient 0: roots and logarithms of it are then taken of `1` there.
fn guarded(x: &Tensor, least: f64, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor> {
    let zero = x.le(least)?;
    let safe = zero.where_cond(&x.ones_like()?, x)?;
    Ok(zero.where_cond(&x.zeros_like()?, &f(&safe)?)?)
}

/// Scores `[n, m]` of `x` (`[n, d]`) against `y` (`[m, d]`). Gradients at distance 0 are 0.
///
/// Euclidean distances are made of products on any device, with the rounding of `‖a‖² + ‖b‖² − 2a·b`; Lp holds `n·m·d`
/// numbers.
///
/// # Errors
/// When the shapes do not fit.
pub fn pairwise(metric: Metric, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let product = |x: &Tensor, y: &Tensor| -> Result<Tensor> { Ok(x.matmul(&y.t()?.contiguous()?)?) };
    match metric {
        Metric::Dot => product(x, y),
        Metric::Cosine => product(&l2_normalize(x)?, &l2_normalize(y)?),
        Metric::SquaredEuclidean => {
            let (a, b) = (x.sqr()?.sum_keepdim(1)?, y.sqr()?.sum_keepdim(1)?);
            let square = a.broadcast_add(&b.t()?)?.broadcast_sub(&(product(x, y)? * 2.0)?)?;
            // Not `relu`, which hides what is not a number.
            Ok(square.lt(0.0)?.where_cond(&square.zeros_like()?, &square)?)
        }
        Metric::Euclidean => guarded(&pairwise(Metric::SquaredEuclidean, x, y)?, 1e-12, |s| s.sqrt()),
        Metric::Lp(p) => {
            let difference = x.unsqueeze(1)?.broadcast_sub(&y.unsqueeze(0)?)?;
            // candle's `abs` has slope 1 at 0.
            let fixed = difference.detach();
            let sign = (fixed.gt(0.0)?.to_dtype(x.dtype())? - fixed.lt(0.0)?.to_dtype(x.dtype())?)?;
            let difference = (difference * sign)?;
            if p == 1.0 {
                return Ok(difference.sum(D::Minus1)?);
            }
            let sum = guarded(&difference, 0.0, |t| t.powf(p))?.sum(D::Minus1)?;
            guarded(&sum, 0.0, |t| t.powf(1.0 / p))
        }
        Metric::Snr => {
            let centred = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(1)?);
            let (a, b) = (centred(x)?, centred(y)?);
            let signal = a.sqr()?.sum_keepdim(1)?;
            let zero = signal.le(0.0)?;
            let safe = zero.where_cond(&signal.ones_like()?, &signal)?;
            let noise = pairwise(Metric::SquaredEuclidean, &a, &b)?;
            let none = zero.broadcast_as(noise.shape())?;
            Ok(none.where_cond(&noise.zeros_like()?, &noise.broadcast_div(&safe)?)?)
        }
        Metric::Hyperbolic(c) => {
            let square = pairwise(Metric::SquaredEuclidean, x, y)?;
            let (a, b) = (x.sqr()?.sum_keepdim(1)?, y.sqr()?.sum_keepdim(1)?.t()?);
            let denominator = ((a.broadcast_mul(&b)? * (c * c))?.broadcast_sub(&(product(x, y)? * (2.0 * c))?)? + 1.0)?;
            let root = c.sqrt();
            guarded(&(square / denominator)?, 1e-12, |gyro| {
                // artanh t = ½ log((1 + t)/(1 − t)).
                let t = (gyro.sqrt()? * root)?;
                ((&t + 1.0)? / (1.0 - &t)?)?.log()? * (1.0 / root)
            })
        }
    }
}
