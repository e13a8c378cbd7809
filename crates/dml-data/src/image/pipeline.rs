//! What happens to an image between the file and the network, as a recipe says it.

use super::short_form::table_or;
use super::transform::Transform;
use super::{
    CenterCrop, ColorJitter, Decoder, Extent, GaussianBlur, Grayscale, HorizontalFlip, Normalize, RandAugment,
    RandomAffine, RandomCrop, RandomErasing, RandomResizedCrop, Resize, Size, VerticalFlip, jpeg, part, reduced,
};
use crate::{Error, Image, Result};
use image::metadata::Orientation;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One change of an image. What a step is made of may stand for its table: `{resize = 256}`, `{horizontal_flip = 0.5}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Step {
    Resize(#[serde(deserialize_with = "table_or::<_, Size, _>")] Resize),
    CenterCrop(#[serde(deserialize_with = "table_or::<_, Extent, _>")] CenterCrop),
    RandomCrop(#[serde(deserialize_with = "table_or::<_, Extent, _>")] RandomCrop),
    RandomResizedCrop(#[serde(deserialize_with = "table_or::<_, Extent, _>")] RandomResizedCrop),
    HorizontalFlip(#[serde(deserialize_with = "table_or::<_, f64, _>")] HorizontalFlip),
    VerticalFlip(#[serde(deserialize_with = "table_or::<_, f64, _>")] VerticalFlip),
    ColorJitter(ColorJitter),
    Grayscale(#[serde(deserialize_with = "table_or::<_, f64, _>")] Grayscale),
    GaussianBlur(GaussianBlur),
    RandomAffine(RandomAffine),
    RandAugment(RandAugment),
    RandomErasing(RandomErasing),
}

impl Step {
    fn transform(&self) -> (&'static str, &dyn Transform) {
        match self {
            Self::Resize(step) => ("resize", step),
            Self::CenterCrop(step) => ("center_crop", step),
            Self::RandomCrop(step) => ("random_crop", step),
            Self::RandomResizedCrop(step) => ("random_resized_crop", step),
            Self::HorizontalFlip(step) => ("horizontal_flip", step),
            Self::VerticalFlip(step) => ("vertical_flip", step),
            Self::ColorJitter(step) => ("color_jitter", step),
            Self::Grayscale(step) => ("grayscale", step),
            Self::GaussianBlur(step) => ("gaussian_blur", step),
            Self::RandomAffine(step) => ("random_affine", step),
            Self::RandAugment(step) => ("rand_augment", step),
            Self::RandomErasing(step) => ("random_erasing", step),
        }
    }
}

/// Steps that make images of any size into images of one size; in order, each drawn from one generator.
///
/// The result depends on the image, the steps and the generator only.
///
/// ```
/// use dml_data::image::Pipeline;
/// #[derive(serde::Deserialize)]
/// struct Recipe {
///     transforms: Pipeline,
/// }
/// let recipe: Recipe = toml::from_str(
///     r#"
///     transforms = [
///         { resize = 256 },
///         { random_resized_crop = { size = 227, scale = [0.16, 1.0] } },
///         { horizontal_flip = 0.5 },
///         { color_jitter = { brightness = 0.4, hue = 0.1 } },
///     ]"#,
/// )?;
/// recipe.transforms.check()?;
/// assert_eq!(recipe.transforms.output_sides()?, [227, 227]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pipeline {
    /// In the order in which they are taken.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// Names the step, the key, its value and what to give.
    pub fn check(&self) -> Result<()> {
        self.steps.iter().enumerate().try_for_each(|(at, step)| {
            let (name, step) = step.transform();
            step.check().map_err(|problem| Error::Invalid(format!("transforms[{at}].{name}: {problem}")))
        })
    }

    /// `[height, width]` of every result, whatever the image.
    ///
    /// # Errors
    /// When results differ: no step gives them a fixed size.
    pub fn output_sides(&self) -> Result<[usize; 2]> {
        let sides = self.steps.iter().fold(None, |sides, step| step.transform().1.sides(sides));
        sides.ok_or_else(|| {
            let names: Vec<&str> = self.steps.iter().map(|step| step.transform().0).collect();
            Error::Invalid(format!(
                "transforms = {names:?} give images of different sizes: add center_crop, random_crop, \
                 random_resized_crop or resize = [height, width]"
            ))
        })
    }

    /// `[channels, height, width]` of every result, whatever the image.
    ///
    /// # Errors
    /// As [`Pipeline::output_sides`].
    pub fn output_shape(&self, channels: usize) -> Result<[usize; 3]> {
        self.output_sides().map(|[height, width]| [channels, height, width])
    }

    /// The steps before the first that draws: of one image they always make the same.
    pub(crate) fn still(&self) -> &[Step] {
        let draws = |step: &Step| !matches!(step, Step::Resize(_) | Step::CenterCrop(_));
        &self.steps[..self.steps.iter().position(draws).unwrap_or(self.steps.len())]
    }

    /// The image after all steps. Values are taken as they are: [`check`](Pipeline::check) comes first, once.
    ///
    /// # Errors
    /// When the image has no pixels, or neither 1 nor 3 channels.
    pub fn apply(&self, image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        let (width, height, channels) = (image.width, image.height, image.channels);
        if width == 0 || height == 0 || !matches!(channels, 1 | 3) || image.pixels.len() != width * height * channels {
            return Err(Error::Invalid(format!(
                "an image of {width}x{height} with {channels} channels cannot be transformed: give pixels of 1 or 3 \
                 channels"
            )));
        }
        self.steps.iter().try_fold(image, |image, step| step.transform().1.apply(image, rng))
    }

    /// The image file held in `bytes` after all steps; `path` is for messages.
    ///
    /// # Errors
    /// As [`Decoder::decode`] and [`Pipeline::apply`].
    pub fn load(&self, decoder: &Decoder, path: &Path, bytes: &[u8], rng: &mut ChaCha8Rng) -> Result<Image> {
        // Of a whole image there is nothing to leave unread.
        if let Some((first, rest)) = self.steps.split_first()
            && (decoder.reduce || matches!(first, Step::RandomResizedCrop(_)))
            && jpeg::is_baseline(bytes)
            && let Ok(header) = jpeg::Header::read(decoder, bytes)
            && (header.orientation == Orientation::NoTransforms || !decoder.orient)
        {
            // The usual way draws the same once more.
            let mut ahead = rng.clone();
            if let Some(scaling) = first.transform().1.scaling([header.height, header.width], &mut ahead) {
                let reduced = if decoder.reduce { reduced::scale_jpeg(decoder, bytes, &scaling) } else { None };
                if let Some(image) = reduced.or_else(|| part::scale_jpeg(decoder, bytes, &header, &scaling)) {
                    *rng = ahead;
                    return rest.iter().try_fold(image?, |image, step| step.transform().1.apply(image, rng));
                }
            }
        }
        self.apply(decoder.decode(path, bytes)?, rng)
    }

    /// The image after all steps as network input, `[channels, height, width]`, in `out`.
    ///
    /// # Errors
    /// As [`Pipeline::apply`] and [`Normalize::write`].
    pub fn apply_normalized(
        &self,
        image: Image,
        rng: &mut ChaCha8Rng,
        normalize: &Normalize,
        out: &mut [f32],
    ) -> Result<()> {
        normalize.write(&self.apply(image, rng)?, out)
    }
}
