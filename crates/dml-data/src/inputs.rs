//! Samples as network input: what batches are made of.

use crate::image::{Decoder, Pipeline, Region, crop};
use crate::rng::{Purpose, stream};
use crate::{Augment, Catalog, Dataset, Error, Image, ImageSet, Normalize, Result};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// When in training a sample is drawn. What is random about it is a function of this and of its index alone: wherever it stands in
/// an epoch, and whoever prepares it, it looks the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the augmentation.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// How often the epoch has had the sample before: where a sampler deals it again, it looks another way.
    pub copy: u32,
}

impl Draw {
    /// The generator of sample `index`, which is below 2³² as a plan has it.
    fn stream(self, purpose: Purpose, index: usize) -> ChaCha8Rng {
        stream(self.seed, purpose, (self.epoch, index as u64 | u64::from(self.copy) << 32))
    }
}

/// Labelled samples of one shape as network input, read by index.
pub trait Inputs: Send + Sync {
    /// Short name for messages, e.g. `sop/train`.
    fn name(&self) -> &str;
    /// The class of each sample, `0..class_names().len()`.
    fn labels(&self) -> &[u32];
    /// The name of each class.
    fn class_names(&self) -> &[String];
    /// `[channels, height, width]` of every input.
    fn shape(&self) -> [usize; 3];
    /// What sample `index` is called, unique in the set: the path of its file below the root of the data where there is one, else
    /// `<set>/<index>`.
    fn id(&self, index: usize) -> String {
        format!("{}/{index}", self.name())
    }
    /// Sample `index` as an image to look at, before it is normalised; none where it is no image.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn picture(&self, index: usize) -> Result<Option<Image>> {
        let _ = index;
        Ok(None)
    }
    /// The same as bytes that a device may normalise; none where they are no images of 8-bit values until then.
    fn as_bytes(self: Arc<Self>) -> Option<Arc<dyn ByteInputs>> {
        None
    }
    /// Refuses settings that fit no sample.
    ///
    /// # Errors
    /// As said.
    fn check(&self) -> Result<()>;
    /// Writes sample `index` to `out`, as many values as [`shape`](Self::shape) says: drawn for training, or as it is for
    /// evaluation (`None`).
    ///
    /// # Errors
    /// When the sample cannot be read; [`Error::Format`] and [`Error::Io`] name its file.
    fn write(&self, index: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()>;
}

/// Inputs that are images of 8-bit values until they are normalised.
pub trait ByteInputs: Inputs {
    /// Sample `index` before it is normalised, of the size that [`shape`](Inputs::shape) says.
    ///
    /// # Errors
    /// As [`Inputs::write`].
    fn image(&self, index: usize, draw: Option<Draw>) -> Result<Image>;
    /// What makes network input of it.
    fn normalize(&self) -> &Normalize;
}

/// Writes the values of sample `index` of `inputs` to `out`, `[height, width, channels]`.
pub(crate) fn write_bytes(inputs: &dyn ByteInputs, index: usize, draw: Option<Draw>, out: &mut [u8]) -> Result<()> {
    let image = inputs.image(index, draw)?;
    expect(inputs.shape(), &image, inputs.name(), index)?;
    out.copy_from_slice(&image.pixels);
    Ok(())
}

/// Writes sample `index` of `inputs` as network input to room that may hold anything.
pub(crate) fn write_normalized<'a>(
    inputs: &dyn ByteInputs,
    index: usize,
    draw: Option<Draw>,
    room: &'a mut [MaybeUninit<f32>],
) -> Result<&'a mut [f32]> {
    let image = inputs.image(index, draw)?;
    expect(inputs.shape(), &image, inputs.name(), index)?;
    inputs.normalize().write_anew(&image, room)
}

/// Refuses an image of another shape than its set has.
fn expect(want: [usize; 3], image: &Image, name: &str, index: usize) -> Result<()> {
    let got = image.shape();
    if got == want {
        return Ok(());
    }
    Err(Error::Invalid(format!("{name}: image {index} has shape {got:?} but the set has {want:?}: resize it")))
}

/// A data set of images of one shape, augmented by a [`Draw`] and normalised.
pub struct AugmentedSet {
    /// The images.
    pub dataset: Arc<dyn Dataset>,
    /// What is changed of them in training.
    pub augment: Augment,
    /// What is done to all of them at last.
    pub normalize: Normalize,
}

impl Inputs for AugmentedSet {
    fn name(&self) -> &str {
        self.dataset.name()
    }

    fn labels(&self) -> &[u32] {
        self.dataset.labels()
    }

    fn class_names(&self) -> &[String] {
        self.dataset.class_names()
    }

    fn shape(&self) -> [usize; 3] {
        self.dataset.shape()
    }

    fn id(&self, index: usize) -> String {
        self.dataset.id(index)
    }

    fn picture(&self, index: usize) -> Result<Option<Image>> {
        self.dataset.image(index).map(Some)
    }

    fn check(&self) -> Result<()> {
        self.augment.check()?;
        self.normalize.check(self.shape()[0])
    }

    fn write(&self, index: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()> {
        write_image(self.dataset.as_ref(), index, draw.map(|draw| (&self.augment, draw)), &self.normalize, out)
    }
}

/// Writes image `index` of `dataset`, augmented where a draw is given, and normalised.
pub(crate) fn write_image(
    dataset: &dyn Dataset,
    index: usize,
    augment: Option<(&Augment, Draw)>,
    normalize: &Normalize,
    out: &mut [f32],
) -> Result<()> {
    let image = dataset.image(index)?;
    expect(dataset.shape(), &image, dataset.name(), index)?;
    let Some((augment, draw)) = augment.filter(|(augment, _)| augment.changes()) else {
        return normalize.write(&image, out);
    };
    augment.apply(&image, &mut draw.stream(Purpose::Augment, index), out);
    normalize.apply(out, image.channels);
    Ok(())
}

/// The images of a catalogue, decoded when they are asked for, cut to their boxes if
/// [they are to be](Catalog::cut_to_boxes), and taken through a pipeline with its
/// [`Draw`].
///
/// [`CachedImages`](crate::CachedImages) decode them once.
pub struct FileImages {
    catalog: Catalog,
    pub(crate) decoder: Decoder,
    pub(crate) pipeline: Pipeline,
    normalize: Normalize,
    shape: [usize; 3],
}

impl FileImages {
    /// The samples of `catalog` as `pipeline` makes them.
    ///
    /// # Errors
    /// When a setting is out of its range, or the pipeline gives images of different sizes.
    pub fn new(catalog: Catalog, decoder: Decoder, pipeline: Pipeline, normalize: Normalize) -> Result<Self> {
        pipeline.check()?;
        decoder.check()?;
        normalize.check(decoder.channels)?;
        let shape = pipeline.output_shape(decoder.channels)?;
        Ok(Self { catalog, decoder, pipeline, normalize, shape })
    }

    /// What they are.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Sample `index` after the pipeline.
    ///
    /// # Errors
    /// As [`Inputs::write`].
    pub fn image(&self, index: usize, draw: Option<Draw>) -> Result<Image> {
        self.load(index, &self.pipeline, &mut Self::stream(index, draw))
    }

    /// The generator of sample `index`.
    pub(crate) fn stream(index: usize, draw: Option<Draw>) -> ChaCha8Rng {
        draw.unwrap_or_default().stream(Purpose::Sample, index)
    }

    /// Sample `index` decoded, cut to its box if it is to be, and after the steps of `pipeline`.
    pub(crate) fn load(&self, index: usize, pipeline: &Pipeline, rng: &mut ChaCha8Rng) -> Result<Image> {
        let (path, bytes) = self.catalog.read(index)?;
        let Some(bounds) = self.catalog.cut(index) else {
            return pipeline.load(&self.decoder, &path, &bytes, rng);
        };
        let whole = self.decoder.decode(&path, &bytes)?;
        let region = within(bounds, &whole).ok_or_else(|| {
            let (width, height) = (whole.width, whole.height);
            Error::format(&path, format!("its box {bounds:?} is no part of {width}x{height} pixels: mend the list"))
        })?;
        pipeline.apply(crop(&whole, region)?, rng)
    }

    /// All of them decoded once, as a data set in memory: for sets that are small or a pipeline that shrinks them.
    ///
    /// # Errors
    /// As [`Inputs::write`], for the first sample that fails.
    pub fn decoded(&self) -> Result<ImageSet> {
        let images: Result<Vec<Image>> =
            (0..self.labels().len()).into_par_iter().map(|i| self.image(i, None)).collect();
        let (labels, names) = (self.labels().to_vec(), self.class_names().to_vec());
        ImageSet::new(self.name(), self.shape, images?, labels, names)
    }
}

/// The pixels that a box `[x, y, width, height]` touches within an image.
fn within([x, y, width, height]: [f32; 4], image: &Image) -> Option<Region> {
    let side = |start: f32, length: f32, all: usize| {
        let end = (start + length).ceil().clamp(0.0, all as f32) as usize;
        let start = start.floor().clamp(0.0, all as f32) as usize;
        (start < end).then(|| (start, end - start))
    };
    let ((left, width), (top, height)) = (side(x, width, image.width)?, side(y, height, image.height)?);
    Some(Region { left, top, width, height })
}

impl Inputs for FileImages {
    fn name(&self) -> &str {
        self.catalog.name()
    }

    fn labels(&self) -> &[u32] {
        self.catalog.labels()
    }

    fn class_names(&self) -> &[String] {
        self.catalog.class_names()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn id(&self, index: usize) -> String {
        self.catalog.path(index).to_owned()
    }

    fn picture(&self, index: usize) -> Result<Option<Image>> {
        self.image(index, None).map(Some)
    }

    fn as_bytes(self: Arc<Self>) -> Option<Arc<dyn ByteInputs>> {
        Some(self)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn write(&self, index: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()> {
        self.normalize.write(&self.image(index, draw)?, out)
    }
}

impl ByteInputs for FileImages {
    fn image(&self, index: usize, draw: Option<Draw>) -> Result<Image> {
        self.image(index, draw)
    }

    fn normalize(&self) -> &Normalize {
        &self.normalize
    }
}
