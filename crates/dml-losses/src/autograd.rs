//! The seam between kernels that return gradients and candle's graph.
//!
//! candle's backward pass cannot see what a forward pass saved (huggingface/candle#3305), so kernels return gradients as
//! values, and an operation that holds one makes the pair an ordinary differentiable scalar.

use crate::Result;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};

/// A scalar with a known derivative by its one input.
struct Attached {
    value: f64,
    gradient: Tensor,
}

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        "attached-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let value = match storage {
            CpuStorage::F64(_) => CpuStorage::F64(vec![self.value]),
            _ => CpuStorage::F32(vec![self.value as f32]),
        };
        Ok((value, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let factor: f64 = upstream.to_dtype(DType::F64)?.to_scalar()?;
        Ok(Some(if factor == 1.0 { self.gradient.clone() } else { (&self.gradient * factor)? }))
    }
}

/// A scalar on the CPU of the given value whose gradient with respect to each tensor is the given one (row-major, same
/// shape). `f64` where the first tensor is, else `f32`.
///
/// # Errors
/// When a gradient has another number of values than its tensor.
pub fn attach<T: candle_core::WithDType>(value: f64, gradients: Vec<(&Tensor, Vec<T>)>) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for (tensor, gradient) in gradients {
        let gradient = Tensor::from_vec(gradient, tensor.shape(), tensor.device())?.to_dtype(tensor.dtype())?;
        let value = if total.is_none() { value } else { 0.0 };
        let one = tensor.apply_op1(Attached { value, gradient })?;
        total = Some(match total {
            None => one,
            Some(sum) => (&sum + one.to_dtype(sum.dtype())?)?,
        });
    }
    match total {
        Some(total) => Ok(total),
        None => Ok(Tensor::new(value as f32, &candle_core::Device::Cpu)?),
    }
}

/// A loss of 0 whose gradient at each tensor is 0: that of a batch without any term.
///
/// # Errors
/// When a tensor operation fails.
pub fn nothing(tensors: &[&Tensor]) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for tensor in tensors {
        // Not `* 0.0`: candle's backward pass does not look behind that, so there would be no gradient at all.
        let zero = (*tensor * tensor.zeros_like()?)?.sum_all()?;
        total = Some(match total {
            None => zero,
            Some(sum) => (&sum + zero.to_dtype(sum.dtype())?)?,
        });
    }
    total.map_or_else(|| Ok(Tensor::new(0f32, &candle_core::Device::Cpu)?), Ok)
}
