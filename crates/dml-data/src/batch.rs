//! What a network eats: a block of pixels with its labels.

use crate::image::Unreadable;
use crate::inputs::{ByteInputs, write_bytes, write_image};
use crate::{Dataset, Error, Inputs, Normalize, Result};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// What one thread writes before it asks for more, at most, if an image is not larger.
const TASK_BYTES: usize = 1 << 16;

/// Images of one step, ready for a network; as a [`ByteBatch`], ready but for the normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<P = f32> {
    /// The training step, or the number of the batch in [`eval_batches`].
    pub step: u64,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// `[n, c, h, w]`; of bytes `[n, h, w, c]`.
    pub shape: [usize; 4],
    /// Values in that order: 0..1, then normalised; of bytes as they are in the images.
    pub pixels: Vec<P>,
    /// Samples that were left out because their files cannot be read, and why.
    pub skipped: Vec<(usize, String)>,
}

/// Images of 8-bit values: a quarter of the bytes that go to a device, which normalises them itself.
pub type ByteBatch = Batch<u8>;

impl<P: Copy + Default + Send + Sync> Batch<P> {
    /// The samples at `indices`, whose values have the given `sides`, each written by `write(position, index, room)`, which gives
    /// back the room as what it now holds.
    ///
    /// They are prepared on rayon's threads; each depends on its index only, so their number does not matter. Under
    /// [`Unreadable::Skip`] samples whose file cannot be read are left out.
    ///
    /// # Errors
    /// When a sample cannot be written, or none of them can be read.
    pub(crate) fn prepare(
        sides: [usize; 3],
        labels: &[u32],
        mut indices: Vec<usize>,
        unreadable: Unreadable,
        step: u64,
        write: impl for<'a> Fn(usize, usize, &'a mut [MaybeUninit<P>]) -> Result<&'a mut [P]> + Sync,
    ) -> Result<Self> {
        let size = sides.iter().product::<usize>();
        let mut pixels = Vec::with_capacity(indices.len() * size);
        // Small tasks, so that no thread waits for another's last images; but not so small that handing them out costs more.
        let most = (TASK_BYTES / (size * size_of::<P>()).max(1)).max(1);
        let room = &mut pixels.spare_capacity_mut()[..indices.len() * size];
        let each = room.par_chunks_exact_mut(size).zip(&indices).enumerate().with_max_len(most);
        // Image by image, in the cache of the thread that writes it, and not all of them by one thread.
        let fill = |(position, (out, &index)): (usize, (&mut [MaybeUninit<P>], &usize))| {
            let room = out.as_ptr_range();
            let held = write(position, index, out)?.as_ptr_range();
            assert!(room.start.cast() == held.start && room.end.cast() == held.end, "all of the room is written");
            Ok(())
        };
        let written: Vec<Result<()>> = each.map(fill).collect();
        let (mut skipped, mut read) = (vec![], vec![]);
        for (position, written) in written.into_iter().enumerate() {
            let mut lost = vec![];
            match unreadable.settle(written, &mut lost)? {
                Some(()) => read.push(position),
                None => skipped.extend(lost.into_iter().map(|error| (indices[position], error.to_string()))),
            }
        }
        if read.is_empty() && !skipped.is_empty() {
            let (n, (index, why)) = (skipped.len(), skipped.swap_remove(0));
            return Err(Error::Invalid(format!(
                "none of the {n} samples of step {step} can be read; sample {index}: {why}"
            )));
        }
        if read.len() < indices.len() {
            let room = pixels.spare_capacity_mut();
            for (to, &from) in read.iter().enumerate() {
                room.copy_within(from * size..(from + 1) * size, to * size);
                indices[to] = indices[from];
            }
            indices.truncate(read.len());
        }
        // SAFETY: each of those that were read has been written, and they are the first.
        unsafe { pixels.set_len(indices.len() * size) };
        let labels = indices.iter().map(|&index| labels[index]).collect();
        let [first, second, third] = sides;
        Ok(Self { step, shape: [indices.len(), first, second, third], indices, labels, pixels, skipped })
    }
}

/// Room with what `write` puts over zeros.
pub(crate) fn over_zeros<P: Copy + Default>(
    room: &mut [MaybeUninit<P>],
    write: impl FnOnce(&mut [P]) -> Result<()>,
) -> Result<&mut [P]> {
    room.fill(MaybeUninit::new(P::default()));
    // SAFETY: all of it has been written just now.
    let out = unsafe { &mut *(std::ptr::from_mut(room) as *mut [P]) };
    write(out)?;
    Ok(out)
}

impl Batch {
    /// The pixels as a tensor `[n, c, h, w]` of `f32`.
    ///
    /// # Errors
    /// When the device has no room.
    #[cfg(feature = "candle")]
    pub fn to_tensor(&self, device: &candle_core::Device) -> Result<candle_core::Tensor> {
        let [n, c, h, w] = self.shape;
        Ok(candle_core::Tensor::from_slice(&self.pixels, (n, c, h, w), device)?)
    }

    /// [`to_tensor`](Self::to_tensor) of a batch that is not needed any more: on the CPU nothing is copied.
    ///
    /// # Errors
    /// When the device has no room.
    #[cfg(feature = "candle")]
    pub fn into_tensor(self, device: &candle_core::Device) -> Result<candle_core::Tensor> {
        let [n, c, h, w] = self.shape;
        Ok(candle_core::Tensor::from_vec(self.pixels, (n, c, h, w), device)?)
    }
}

#[cfg(feature = "candle")]
impl ByteBatch {
    /// The pixels as network input, a tensor `[n, c, h, w]` of `f32`: the bytes go to `device` and are normalised there, to the
    /// bits of [`Normalize::write`].
    ///
    /// # Errors
    /// When `normalize` does not fit the channels, or the device has no room.
    pub fn to_tensor(&self, normalize: &Normalize, device: &candle_core::Device) -> Result<candle_core::Tensor> {
        use candle_core::{DType, Tensor};
        let [n, h, w, c] = self.shape;
        normalize.check(c)?;
        let bytes = Tensor::from_slice(&self.pixels, (n, h, w, c), device)?;
        // A table instead of the arithmetic: devices divide each in their own way.
        let plane = |channel: usize| {
            let table = Tensor::new(&normalize.table(channel), device)?;
            // As bytes candle would take the index 255 for none.
            let values = bytes.narrow(3, normalize.source(channel, c), 1)?.flatten_all()?.to_dtype(DType::U32)?;
            table.index_select(&values, 0)?.reshape((n, 1, h, w))
        };
        let planes: Vec<Tensor> = (0..c).map(plane).collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&planes, 1)?)
    }
}

/// The images of `dataset` in order, `batch_size` at a time (at least 1), without augmentation.
///
/// Yields an error, and then nothing, when `normalize` does not fit the channels or an image cannot be read.
pub fn eval_batches<'a>(
    dataset: &'a dyn Dataset,
    normalize: &'a Normalize,
    batch_size: usize,
) -> impl Iterator<Item = Result<Batch>> + 'a {
    let (shape, labels, misfit) = (dataset.shape(), dataset.labels(), normalize.check(dataset.shape()[0]).err());
    in_order(labels.len(), batch_size, misfit, move |number, indices| {
        Batch::prepare(shape, labels, indices, Unreadable::Fail, number, |_, index, room| {
            over_zeros(room, |out| write_image(dataset, index, None, normalize, out))
        })
    })
}

/// The samples of `inputs` in order, `batch_size` at a time (at least 1), as they are for evaluation.
///
/// Yields an error, and then nothing, when the settings do not fit or a sample cannot be read.
pub fn input_batches(inputs: &dyn Inputs, batch_size: usize) -> impl Iterator<Item = Result<Batch>> + '_ {
    let (shape, labels) = (inputs.shape(), inputs.labels());
    in_order(labels.len(), batch_size, inputs.check().err(), move |number, indices| {
        Batch::prepare(shape, labels, indices, Unreadable::Fail, number, |_, index, room| {
            over_zeros(room, |out| inputs.write(index, None, out))
        })
    })
}

/// As [`input_batches`], not yet normalised.
pub fn byte_batches(inputs: &dyn ByteInputs, batch_size: usize) -> impl Iterator<Item = Result<ByteBatch>> + '_ {
    let [channels, height, width] = inputs.shape();
    let (sides, misfit, labels) = ([height, width, channels], inputs.check().err(), inputs.labels());
    in_order(labels.len(), batch_size, misfit, move |number, indices| {
        Batch::prepare(sides, labels, indices, Unreadable::Fail, number, |_, index, room| {
            over_zeros(room, |out| write_bytes(inputs, index, None, out))
        })
    })
}

/// So many samples in order, each batch made by `prepare(number, indices)`; a `misfit` is all there is.
pub(crate) fn in_order<'a, B: 'a>(
    samples: usize,
    batch_size: usize,
    mut misfit: Option<Error>,
    prepare: impl Fn(u64, Vec<usize>) -> Result<B> + 'a,
) -> impl Iterator<Item = Result<B>> + 'a {
    let batch_size = batch_size.max(1);
    let mut failed = false;
    (0..samples.div_ceil(batch_size)).map_while(move |number| {
        if failed {
            return None;
        }
        let batch = match misfit.take() {
            Some(misfit) => Err(misfit),
            None => prepare(number as u64, (number * batch_size..samples.min((number + 1) * batch_size)).collect()),
        };
        failed = batch.is_err();
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Augment, Draw, ImageSet};

    #[test]
    fn threads_do_not_change_a_batch() {
        let pixels = (0..24 * 3 * 64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let set = ImageSet::from_pixels("toy", [3, 8, 8], pixels, vec![0; 24], vec!["only".into()]).unwrap();
        let normalize = Normalize::measure(&set).unwrap();
        let augment = Augment { rotate: 20.0, elastic: 0.1, brightness: 0.2, erase: 0.5, ..Augment::default() };
        let prepare = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (shape, labels, indices) = (set.shape(), set.labels(), (0..24).rev().collect());
            let prepared = pool.install(|| {
                Batch::prepare(shape, labels, indices, Unreadable::Fail, 11, |_, index, room| {
                    let draw = Draw { seed: 7, ..Draw::default() };
                    over_zeros(room, |out| write_image(&set, index, Some((&augment, draw)), &normalize, out))
                })
            });
            prepared.unwrap()
        };
        let (one, three) = (prepare(1), prepare(3));
        assert_eq!(one, three);
        assert_ne!(one.pixels[..192], one.pixels[192..384]);
    }
}
