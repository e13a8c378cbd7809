//! CPU tensors as slices, for custom operations.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// Whether our CPU operations can work on all of `tensors`: other devices and types take candle's.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// The contiguous f32 values that `layout` names in `storage`.
pub(crate) fn of_storage<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("operation wants a contiguous tensor: call contiguous() first");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `f` on the values of a contiguous f32 CPU tensor.
pub(crate) fn with<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(of_storage(storage, layout)?),
        _ => bail!("operation runs on the CPU only"),
    }
}

/// As [`with`], of two tensors.
pub(crate) fn with2<T>([a, b]: [&Tensor; 2], f: impl FnOnce([&[f32]; 2]) -> Result<T>) -> Result<T> {
    with(a, |a| with(b, |b| f([a, b])))
}

/// As [`with`], of three tensors.
pub(crate) fn with3<T>([a, b, c]: [&Tensor; 3], f: impl FnOnce([&[f32]; 3]) -> Result<T>) -> Result<T> {
    with2([a, b], |[a, b]| with(c, |c| f([a, b, c])))
}
