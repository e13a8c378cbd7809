//! The only place that asks where a tensor lives.
//!
//! Row kernels run on the CPU. Tensors of another device are copied there and gradients back: right on every
//! device, and fast on the CPU; kernels for CUDA and Metal belong in folders beside `cpu`.

pub(crate) mod cpu;

use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// The values of a matrix `[n, d]` as `f32` on the host, with `n` and `d`.
///
/// # Errors
/// When the tensor is not of rank two.
pub fn to_host(tensor: &Tensor) -> Result<(Vec<f32>, usize, usize)> {
    let (n, d) = tensor
        .dims2()
        .map_err(|_| Error::Shape(format!("embeddings have shape {:?}: want two dimensions, [n, d]", tensor.dims())))?;
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok((values, n, d))
}
