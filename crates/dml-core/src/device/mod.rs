//! The only place that asks where a tensor lives.
//!
//! Row kernels run on the CPU; on other devices losses are composed of candle's operations. Kernels for CUDA and Metal
//! belong in folders beside `cpu`.

pub(crate) mod cpu;

use crate::{Error, Matrix, Real, Result};
use candle_core::{DType, Storage, Tensor, WithDType};

/// Whether row kernels run where this tensor lives.
pub fn has_kernels(tensor: &Tensor) -> bool {
    tensor.device().is_cpu()
}

/// The values of a matrix `[n, d]` as `f32` or `f64` on the host, with `n` and `d`. Half precision is widened.
///
/// # Errors
/// When the tensor is not of rank two.
pub fn to_host<T: WithDType>(tensor: &Tensor) -> Result<(Vec<T>, usize, usize)> {
    let (n, d) = tensor
        .dims2()
        .map_err(|_| Error::Shape(format!("embeddings have shape {:?}: want two dimensions, [n, d]", tensor.dims())))?;
    let dtype = if T::DTYPE == DType::F64 { DType::F64 } else { DType::F32 };
    let values = tensor.to_dtype(dtype)?.flatten_all()?.to_vec1()?;
    Ok((values, n, d))
}

/// Calls `f` with the values of a matrix `[n, d]`, as [`to_host`] gives them; where they lie on the CPU in that type, row
/// by row, nothing is copied.
///
/// # Errors
/// When the tensor is not of rank two.
pub fn with_host<T: Real + WithDType, R>(tensor: &Tensor, f: impl FnOnce(Matrix<'_, T>) -> R) -> Result<R> {
    if let (true, Ok((n, d))) = (tensor.dtype() == T::DTYPE, tensor.dims2()) {
        let (storage, layout) = tensor.storage_and_layout();
        if let (Storage::Cpu(storage), Some((begin, end))) = (&*storage, layout.contiguous_offsets()) {
            let values: &[T] = storage.as_slice()?;
            return Ok(f(Matrix::new(&values[begin..end], n, d)?));
        }
    }
    let (values, n, d) = to_host::<T>(tensor)?;
    Ok(f(Matrix::new(&values, n, d)?))
}
