//! The seam between kernels that return gradients and candle's graph.
//!
//! candle's backward pass cannot see what a forward pass saved, so gradients come as values: for a loss `L` with
//! gradient `G` at `E`, `stop(L) + Σ E∘stop(G) − stop(Σ E∘stop(G))` has the value `L` and the gradient `G`.

use crate::Result;
use candle_core::{DType, Tensor};

/// A scalar of the given value whose gradient with respect to `embeddings`, and to each of `others`, is the given one
/// (row-major, same shape).
///
/// # Errors
/// When a gradient has another number of values than its tensor.
pub fn attach(value: f32, embeddings: (&Tensor, Vec<f32>), others: Vec<(&Tensor, Vec<f32>)>) -> Result<Tensor> {
    let zero = |(tensor, gradient): (&Tensor, Vec<f32>)| -> Result<Tensor> {
        let gradient = Tensor::from_vec(gradient, tensor.shape(), tensor.device())?.to_dtype(tensor.dtype())?;
        let inner = (tensor * gradient)?.sum_all()?.to_dtype(DType::F32)?;
        // Zero: only its gradient counts.
        Ok((&inner - inner.detach())?)
    };
    let total = others
        .into_iter()
        .map(zero)
        .try_fold(zero(embeddings)?, |sum, other| Ok::<_, crate::Error>((sum + other?)?))?;
    Ok((total + f64::from(value))?)
}
