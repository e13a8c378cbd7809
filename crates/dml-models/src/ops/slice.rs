//! CPU tensors as slices, for custom operations.

use super::vector::widest;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;

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

/// `length` numbers of what there is, more of it if need be.
pub(crate) fn at_least(room: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if room.len() < length {
        room.resize(length, 0.0);
    }
    &mut room[..length]
}

/// The chunks of `values`, or, where nothing is wanted of it and it is empty, `count` empty ones.
pub(crate) fn chunks_or_none(values: &mut [f32], length: usize, count: usize) -> Vec<&mut [f32]> {
    match values.is_empty() {
        true => (0..count).map(|_| <&mut [f32]>::default()).collect(),
        false => values.chunks_mut(length).collect(),
    }
}

/// Numbers that one thread works on.
pub(crate) const PIECE: usize = 1 << 14;

/// `f` of each number, by all threads.
pub(crate) fn mapped(x: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    in_pieces(x.len(), |start, out| {
        let x = &x[start..][..out.len()];
        widest(
            #[inline(always)]
            || {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = MaybeUninit::new(f(x));
                }
            },
        );
    })
}

/// As [`mapped`], of pairs of numbers of two slices of one length.
pub(crate) fn mapped2([a, b]: [&[f32]; 2], f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    in_pieces(a.len().min(b.len()), |start, out| {
        let (a, b) = (&a[start..][..out.len()], &b[start..][..out.len()]);
        widest(
            #[inline(always)]
            || {
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = MaybeUninit::new(f(a, b));
                }
            },
        );
    })
}

/// `n` zeros: one thread alone would be busy with the large ones for a tenth of a step.
pub(crate) fn zeros(n: usize) -> Vec<f32> {
    in_pieces(n, |_, out| out.fill(MaybeUninit::new(0.0)))
}

/// `n` numbers in memory that is not filled with zeros first: `write` gets each piece of it with its place, and must write all.
fn in_pieces(n: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut all = Vec::with_capacity(n);
    let pieces = all.spare_capacity_mut()[..n].par_chunks_mut(PIECE).enumerate();
    pieces.for_each(|(piece, out)| write(piece * PIECE, out));
    // SAFETY: the callers above write every number of every piece, since their slices are as long as it.
    unsafe { all.set_len(n) };
    all
}

/// `n` numbers, `length` of them at a time by one thread: `work` gets them as zeros that are in the cache, with their place and what
/// the thread has from `room`.
pub(crate) fn in_chunks<R>(
    n: usize,
    length: usize,
    room: impl Fn() -> R + Send + Sync,
    work: impl Fn(&mut R, usize, &mut [f32]) + Send + Sync,
) -> Vec<f32> {
    in_chunks_and(n, length, room, work).0
}

/// As [`in_chunks`], with what `work` gives for each chunk.
pub(crate) fn in_chunks_and<R, T: Send>(
    n: usize,
    length: usize,
    room: impl Fn() -> R + Send + Sync,
    work: impl Fn(&mut R, usize, &mut [f32]) -> T + Send + Sync,
) -> (Vec<f32>, Vec<T>) {
    let mut all = Vec::with_capacity(n);
    let chunks = all.spare_capacity_mut()[..n].par_chunks_mut(length.max(1)).enumerate();
    let given = chunks.map_init(room, |room, (i, chunk)| {
        chunk.fill(MaybeUninit::new(0.0));
        // SAFETY: all of it has been written just now.
        let chunk = unsafe { &mut *(std::ptr::from_mut(chunk) as *mut [f32]) };
        work(room, i * length, chunk)
    });
    let given = given.collect();
    // SAFETY: every chunk has been written.
    unsafe { all.set_len(n) };
    (all, given)
}
