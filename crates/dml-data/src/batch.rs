//! What a network eats: a block of normalised pixels with its labels.

use crate::image::planes;
use crate::rng::{Purpose, stream};
use crate::{Augment, Dataset, Normalize, Result};
use rayon::prelude::*;

/// Images of one step, ready for a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The training step, or the number of the batch in [`eval_batches`].
    pub step: u64,
    /// Index of each image in its data set.
    pub indices: Vec<usize>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// `[n, c, h, w]`.
    pub shape: [usize; 4],
    /// Values in that order: 0..1, then normalised.
    pub pixels: Vec<f32>,
}

impl Batch {
    /// The images at `indices`, augmented from (`seed`, `step`, position) when `augment` is given, and normalised.
    ///
    /// Images are prepared on rayon's threads; each depends on its position only, so their number does not matter.
    ///
    /// # Errors
    /// When an image cannot be read or has another shape than the data set says.
    pub(crate) fn prepare(
        dataset: &dyn Dataset,
        indices: Vec<usize>,
        augment: Option<(&Augment, u64)>,
        normalize: &Normalize,
        step: u64,
    ) -> Result<Self> {
        let [channels, height, width] = dataset.shape();
        let size = channels * height * width;
        let all = dataset.labels();
        let mut pixels = vec![0f32; indices.len() * size];
        pixels.par_chunks_exact_mut(size).zip(&indices).enumerate().try_for_each(|(position, (out, &index))| {
            let image = dataset.image(index)?;
            if image.shape() != dataset.shape() {
                let (got, want) = (image.shape(), dataset.shape());
                let name = dataset.name();
                return Err(crate::Error::Invalid(format!(
                    "{name}: image {index} has shape {got:?} but the set has {want:?}: resize it"
                )));
            }
            match augment {
                Some((augment, seed)) => {
                    let mut rng = stream(seed, Purpose::Augment, (step, position as u64));
                    augment.apply(&image, &mut rng, out);
                }
                None => planes(&image, out),
            }
            normalize.apply(out, channels);
            Ok(())
        })?;
        let labels = indices.iter().map(|&index| all[index]).collect();
        Ok(Self { step, shape: [indices.len(), channels, height, width], indices, labels, pixels })
    }

    /// The pixels as a tensor `[n, c, h, w]` of `f32`.
    ///
    /// # Errors
    /// When the device has no room.
    #[cfg(feature = "candle")]
    pub fn to_tensor(&self, device: &candle_core::Device) -> Result<candle_core::Tensor> {
        let [n, c, h, w] = self.shape;
        Ok(candle_core::Tensor::from_slice(&self.pixels, (n, c, h, w), device)?)
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
    let batch_size = batch_size.max(1);
    let mut failed = false;
    (0..dataset.len().div_ceil(batch_size)).map_while(move |number| {
        if failed {
            return None;
        }
        let indices = (number * batch_size..dataset.len().min((number + 1) * batch_size)).collect();
        let batch = normalize
            .check(dataset.shape()[0])
            .and_then(|()| Batch::prepare(dataset, indices, None, normalize, number as u64));
        failed = batch.is_err();
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageSet;

    #[test]
    fn threads_do_not_change_a_batch() {
        let pixels = (0..24 * 3 * 64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let set = ImageSet::from_pixels("toy", [3, 8, 8], pixels, vec![0; 24], vec!["only".into()]).unwrap();
        let normalize = Normalize::measure(&set).unwrap();
        let augment = Augment { rotate: 20.0, elastic: 0.1, brightness: 0.2, erase: 0.5, ..Augment::default() };
        let prepare = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Batch::prepare(&set, (0..24).rev().collect(), Some((&augment, 7)), &normalize, 11)).unwrap()
        };
        let (one, three) = (prepare(1), prepare(3));
        assert_eq!(one, three);
        assert_ne!(one.pixels[..192], one.pixels[192..384]);
    }
}
