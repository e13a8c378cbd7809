//! Sums and means over the entries that a mask picks.

use candle_core::{DType, Tensor};
use dml_losses::Result;

/// Stands for an entry that no maximum and no exponential may see. Finite, because `∞ − ∞` is not a number.
const FAR: f64 = 1e30;

/// `x` where the mask is 1, else `other`.
fn fill(mask: &Tensor, x: &Tensor, other: f64) -> Result<Tensor> {
    let other = Tensor::new(other, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?;
    Ok(mask.where_cond(x, &other)?)
}

/// `x` where the mask is 1, else 0.
pub(super) fn only(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    fill(mask, x, 0.0)
}

/// Largest entry of each row that the mask picks, `[n]`; far below all where it picks none.
pub(super) fn largest(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(fill(mask, x, -FAR)?.max(1)?)
}

/// Smallest entry of each row that the mask picks, `[n]`; far above all where it picks none.
pub(super) fn smallest(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(fill(mask, x, FAR)?.min(1)?)
}

/// `log(1 + Σ e^x)` of each row over what the mask picks, `[n]`; 0 where it picks none.
pub(super) fn log_one_plus_sum_exp(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    let one = Tensor::zeros((x.dim(0)?, 1), x.dtype(), x.device())?;
    Ok(Tensor::cat(&[&fill(mask, x, -FAR)?, &one], 1)?.log_sum_exp(1)?)
}

/// Mean over the entries that the mask picks; 0 if it picks none.
pub(super) fn mean(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    let count = mask.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()?;
    Ok((only(mask, x)?.sum_all()? / f64::from(count.max(1)))?)
}

/// Mean of `[x]+` over the entries above 0 that the mask picks.
pub(super) fn mean_above_zero(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    mean(&(mask * x.gt(0.0)?)?, x)
}
