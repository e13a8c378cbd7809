//! The seam between kernels that return gradients and candle's graph.
//!
//! candle's backward pass cannot see what a forward pass saved, so gradients come as values: for a loss `L` with
//! gradient `G` at `E`, `stop(L) + Σ E∘stop(G) − stop(Σ E∘stop(G))` has the value `L` and the gradient `G`.

use crate::Result;
use candle_core::{DType, Tensor};

/// A scalar of the given value whose gradient with respect to each tensor is the given one (row-major, same shape).
///
/// # Errors
/// When a gradient has another number of values than its tensor.
pub fn attach(value: f32, gradients: Vec<(&Tensor, Vec<f32>)>) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for (tensor, gradient) in gradients {
        let gradient = Tensor::from_vec(gradient, tensor.shape(), tensor.device())?.to_dtype(tensor.dtype())?;
        let inner = (tensor * gradient)?.sum_all()?.to_dtype(DType::F32)?;
        // Exactly zero, also where the inner product is not finite: only its gradient counts.
        let zero = (&inner - inner.detach())?;
        total = Some(match total {
            Some(sum) => (sum + zero)?,
            None => zero,
        });
    }
    match total {
        Some(zero) => Ok((zero + f64::from(value))?),
        None => Ok(Tensor::new(value, &candle_core::Device::Cpu)?),
    }
}
