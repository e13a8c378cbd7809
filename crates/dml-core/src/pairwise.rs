//! Score matrices from candle's operations: on every device and differentiable, for losses of one's own.

use crate::{Metric, Result};
use candle_core::{D, Tensor};

/// Rows divided by their norm; rows of zeros stay zeros, with gradient 0.
///
/// # Errors
/// When a tensor operation fails.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    let square = x.sqr()?.sum_keepdim(D::Minus1)?;
    let zero = square.le(1e-24)?;
    // The root of a constant where the norm is 0: no division by 0 in either direction.
    let safe = zero.where_cond(&square.ones_like()?, &square)?;
    let unit = x.broadcast_div(&safe.sqrt()?)?;
    Ok(zero.broadcast_as(x.shape())?.where_cond(&x.zeros_like()?, &unit)?)
}

/// Scores `[n, m]` of `x` (`[n, d]`) against `y` (`[m, d]`). Gradients at distance 0 are 0.
///
/// # Errors
/// When the shapes do not fit.
pub fn pairwise(metric: Metric, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let product = |x: &Tensor, y: &Tensor| -> Result<Tensor> { Ok(x.matmul(&y.t()?)?) };
    match metric {
        Metric::Dot => product(x, y),
        Metric::Cosine => product(&l2_normalize(x)?, &l2_normalize(y)?),
        Metric::SquaredEuclidean => {
            let (a, b) = (x.sqr()?.sum_keepdim(1)?, y.sqr()?.sum_keepdim(1)?);
            Ok(a.broadcast_add(&b.t()?)?.broadcast_sub(&(product(x, y)? * 2.0)?)?.relu()?)
        }
        Metric::Euclidean => {
            let square = pairwise(Metric::SquaredEuclidean, x, y)?;
            let zero = square.le(1e-12)?;
            let safe = zero.where_cond(&square.ones_like()?, &square)?;
            Ok(zero.where_cond(&square.zeros_like()?, &safe.sqrt()?)?)
        }
    }
}
