//! Shift and scale per channel.

use crate::{Dataset, Error, Image, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// `(x − mean) / std` per channel, for `x` in 0..1. One value serves all channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Mean of each channel, or one for all; of values in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, or one for all; of values in 0..1.
    pub std: Vec<f32>,
    /// Turns red, green and blue round, for networks that were trained by Caffe; mean and deviation are in that order,
    /// too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bgr: bool,
}

impl Default for Normalize {
    /// Leaves values in 0..1 as they are.
    fn default() -> Self {
        Self::new(&[0.0], &[1.0])
    }
}

/// Images that are measured at a time.
const MEASURED: usize = 1024;

/// Sum and sum of squares of each channel of so many pixels. Whole numbers: exact, whatever the order.
struct Sums {
    channels: Vec<(u64, u64)>,
    count: u64,
}

impl Sums {
    fn of(image: &Image) -> Self {
        let mut channels = vec![(0, 0); image.channels];
        for pixel in image.pixels.chunks_exact(image.channels) {
            for (sum, &value) in channels.iter_mut().zip(pixel) {
                sum.0 += u64::from(value);
                sum.1 += u64::from(value).pow(2);
            }
        }
        Self { channels, count: (image.width * image.height) as u64 }
    }

    fn and(mut self, more: &Self) -> Self {
        for (sum, more) in self.channels.iter_mut().zip(&more.channels) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
        self.count += more.count;
        self
    }
}

impl Normalize {
    fn new(mean: &[f32], std: &[f32]) -> Self {
        Self { mean: mean.to_vec(), std: std.to_vec(), bgr: false }
    }

    /// Mean and deviation of ImageNet: torchvision's models, DeiT, DINO.
    pub fn imagenet() -> Self {
        Self::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
    }

    /// Mean and deviation of CLIP's images.
    pub fn clip() -> Self {
        Self::new(&[0.481_454_66, 0.457_827_5, 0.408_210_73], &[0.268_629_54, 0.261_302_6, 0.275_777_1])
    }

    /// To −1..1: vision transformers trained on ImageNet-21k.
    pub fn half() -> Self {
        Self::new(&[0.5], &[0.5])
    }

    /// Blue, green, red in 0..255 less 104, 117, 128: the BN-Inception of the metric learning papers.
    pub fn bgr_255() -> Self {
        Self { bgr: true, ..Self::new(&[104.0 / 255.0, 117.0 / 255.0, 128.0 / 255.0], &[1.0 / 255.0]) }
    }

    /// The mean and standard deviation of every value of `dataset`, per channel. Measure the training split only.
    ///
    /// # Errors
    /// When the set is empty or an image cannot be read.
    pub fn measure(dataset: &dyn Dataset) -> Result<Self> {
        if dataset.is_empty() {
            return Err(Error::Invalid(format!(
                "{}: no images to measure the mean of: give mean and std",
                dataset.name()
            )));
        }
        let of_image = |index: usize| -> Result<Sums> { Ok(Sums::of(&dataset.image(index)?)) };
        // So many at a time, that of several images which cannot be read the first is named.
        let mut all = Sums { channels: vec![(0, 0); dataset.shape()[0]], count: 0 };
        for start in (0..dataset.len()).step_by(MEASURED) {
            let some = start..dataset.len().min(start + MEASURED);
            let sums: Vec<Result<Sums>> = some.into_par_iter().map(of_image).collect();
            for sums in sums {
                all = all.and(&sums?);
            }
        }
        let Sums { channels, count } = all;
        let moments = channels.iter().map(|&(sum, squares)| {
            let mean = sum as f64 / count as f64;
            let variance = (squares as f64 / count as f64 - mean * mean).max(0.0);
            // A constant channel would otherwise divide by zero.
            (mean / 255.0, (variance.sqrt() / 255.0).max(1e-6))
        });
        let (mean, std) = moments.map(|(mean, std)| (mean as f32, std as f32)).unzip();
        Ok(Self { mean, std, bgr: false })
    }

    /// Refuses lists that do not fit `channels`, and deviations that are not positive.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self, channels: usize) -> Result<()> {
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != channels {
                let got = values.len();
                return Err(Error::Invalid(format!(
                    "normalize.{key} has {got} values but images have {channels} channels: give 1 or {channels}"
                )));
            }
        }
        let usable = |std: &f32| std.is_finite() && *std > 0.0;
        match self.std.iter().find(|std| !usable(std)) {
            Some(std) => Err(Error::Invalid(format!("normalize.std holds {std}: give numbers above 0"))),
            None => Ok(()),
        }
    }

    /// Turns values 0..=255 (CHW) into network input, in place.
    pub(crate) fn apply(&self, pixels: &mut [f32], channels: usize) {
        let plane = pixels.len() / channels;
        if self.bgr && channels == 3 {
            let (red, rest) = pixels.split_at_mut(plane);
            red.swap_with_slice(&mut rest[plane..]);
        }
        for (channel, plane) in pixels.chunks_exact_mut(plane).enumerate() {
            plane.iter_mut().for_each(|value| *value = self.value(channel, *value));
        }
    }

    /// Writes `image` to `out` as network input: `[channels, height, width]`.
    ///
    /// # Errors
    /// When `out` has another size, or as [`Normalize::check`].
    pub fn write(&self, image: &Image, out: &mut [f32]) -> Result<()> {
        // SAFETY: only floats are written to it.
        let room = unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<f32>]) };
        self.write_anew(image, room).map(drop)
    }

    /// As [`write`](Self::write), to room that may hold anything, which is given back as what it holds.
    pub(crate) fn write_anew<'a>(&self, image: &Image, room: &'a mut [MaybeUninit<f32>]) -> Result<&'a mut [f32]> {
        let (channels, plane) = (image.channels, image.width * image.height);
        self.check(channels)?;
        if room.len() != channels * plane || image.pixels.len() != room.len() {
            let (got, shape) = (room.len(), image.shape());
            return Err(Error::Invalid(format!(
                "an image of shape {shape:?} does not fit {got} values: give {}",
                channels * plane
            )));
        }
        self.with_tables(channels, |tables| match (channels, tables) {
            // All planes at once: the pixels are read once, and nothing is stepped over.
            (3, [first, second, third]) => {
                let (one, rest) = room.split_at_mut(plane);
                let (two, three) = rest.split_at_mut(plane);
                let [mut red, mut blue] = [(one, first), (three, third)];
                if self.source(0, channels) == 2 {
                    std::mem::swap(&mut red, &mut blue);
                }
                let planes = red.0.iter_mut().zip(two).zip(blue.0);
                for (((one, two), three), &[r, g, b]) in planes.zip(image.pixels.as_chunks().0) {
                    one.write(red.1[usize::from(r)]);
                    two.write(second[usize::from(g)]);
                    three.write(blue.1[usize::from(b)]);
                }
            }
            _ => {
                for ((channel, out), table) in room.chunks_exact_mut(plane.max(1)).enumerate().zip(tables) {
                    let values = image.pixels[self.source(channel, channels)..].iter().step_by(channels);
                    for (out, &value) in out.iter_mut().zip(values) {
                        out.write(table[usize::from(value)]);
                    }
                }
            }
        });
        // SAFETY: there are as many pixels as floats, and as many tables as channels: each plane has been written, to its end.
        Ok(unsafe { &mut *(std::ptr::from_mut(room) as *mut [f32]) })
    }

    /// `f` with the table of each channel: 256 divisions instead of one per pixel, and the same bits as `apply`. A thread keeps the
    /// last tables, since of a small image they are a good part of the work.
    fn with_tables(&self, channels: usize, f: impl FnOnce(&[[f32; 256]])) {
        thread_local! {
            static LAST: RefCell<(Normalize, Vec<[f32; 256]>)> = RefCell::new((Normalize::default(), Vec::new()));
        }
        LAST.with_borrow_mut(|(of, tables)| {
            if tables.len() != channels || of != self {
                of.clone_from(self);
                *tables = (0..channels).map(|channel| self.table(channel)).collect();
            }
            f(tables);
        });
    }

    /// The image's channel, of `channels`, that network input has at `channel`.
    pub(crate) fn source(&self, channel: usize, channels: usize) -> usize {
        if self.bgr && channels == 3 { 2 - channel } else { channel }
    }

    /// What becomes of each value 0..=255 in `channel` of network input.
    pub(crate) fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|value| self.value(channel, value as f32))
    }

    fn value(&self, channel: usize, value: f32) -> f32 {
        (value / 255.0 - self.mean[channel % self.mean.len()]) / self.std[channel % self.std.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bgr_255_is_what_caffe_fed() {
        let image = Image::new(2, 1, 3, vec![128, 117, 104, 255, 0, 10]).unwrap();
        let mut out = [0.0; 6];
        Normalize::bgr_255().write(&image, &mut out).unwrap();
        let expected = [0.0, -94.0, 0.0, -117.0, 0.0, 127.0];
        assert!(out.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-4), "{out:?}");
    }

    #[test]
    fn settings_and_channels_may_change_between_images() {
        let image = |channels: usize| Image::new(2, 1, channels, vec![51; 2 * channels]).unwrap();
        for _ in 0..2 {
            for (normalize, channels, want) in
                [(Normalize::default(), 1, 0.2), (Normalize::half(), 1, -0.6), (Normalize::half(), 3, -0.6)]
            {
                let mut out = vec![0f32; 2 * channels];
                normalize.write(&image(channels), &mut out).unwrap();
                assert!(out.iter().all(|got| (got - want).abs() < 1e-6), "{out:?}");
            }
        }
    }

    #[test]
    fn writing_an_image_and_normalising_planes_give_the_same_bits() {
        let image = Image::new(4, 3, 3, (0..36).map(|i| (i * 37) as u8).collect()).unwrap();
        for normalize in [Normalize::imagenet(), Normalize::clip(), Normalize::half(), Normalize::bgr_255()] {
            let (mut written, mut planes) = ([0.0; 36], [0.0; 36]);
            normalize.write(&image, &mut written).unwrap();
            super::super::augment::planes(&image, &mut planes);
            normalize.apply(&mut planes, 3);
            assert_eq!(written, planes);
        }
        assert!(Normalize::imagenet().write(&image, &mut [0.0; 35]).is_err());
    }
}
