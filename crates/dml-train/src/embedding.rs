//! Embeddings of sets, by an encoder as it is for evaluation.

use crate::Result;
use crate::examples::{Examples, TEXTS, input_of};
use candle_core::Device;
use dml_core::Matrix;
use dml_data::text::TextTokenizer;
use dml_data::{Dataset, Inputs, Normalize, eval_batches, input_batches};
use dml_models::{Encoder, Input, Mode, without_gradients};
use std::collections::BTreeMap;

/// Embeddings of a data set, in order.
pub struct Embeddings {
    /// Row-major values `[n, d]`.
    pub values: Vec<f32>,
    /// Length of one.
    pub dim: usize,
    /// Labels `[n]`.
    pub labels: Vec<u32>,
}

impl Embeddings {
    /// The values as a matrix.
    ///
    /// # Errors
    /// When the length is not a multiple of the dimension.
    pub fn matrix(&self) -> Result<Matrix<'_>> {
        Ok(Matrix::new(&self.values, self.labels.len(), self.dim)?)
    }

    fn class_sizes(&self) -> BTreeMap<u32, usize> {
        let mut sizes = BTreeMap::new();
        self.labels.iter().for_each(|&label| *sizes.entry(label).or_default() += 1);
        sizes
    }

    pub(crate) fn classes(&self) -> usize {
        self.class_sizes().len()
    }

    pub(crate) fn can_be_measured(&self) -> bool {
        self.classes() > 1 && self.class_sizes().into_values().any(|size| size > 1)
    }

    pub(crate) fn can_be_recognised(&self) -> bool {
        self.classes() > 3 && self.smallest_class() > 1
    }

    pub(crate) fn smallest_class(&self) -> usize {
        self.class_sizes().into_values().min().unwrap_or(0)
    }
}

/// Inputs that are embedded at a time.
const BATCH: usize = 100;

/// Embeds every sample of `set` as it is for evaluation.
///
/// # Errors
/// When an image, a text or the encoder refuses.
pub fn embed(encoder: &dyn Encoder, set: &dyn Examples, device: &Device) -> Result<Embeddings> {
    let dim = encoder.dim();
    let mut values = vec![0.0; set.labels().len() * dim];
    for batch in set.all()? {
        let batch = batch?;
        let indices = batch.indices.clone();
        let rows = embedded(encoder, &batch.into_views(device)?[0])?;
        scatter(&mut values, dim, indices, &rows);
    }
    Ok(Embeddings { values, dim, labels: set.labels().to_vec() })
}

/// Puts `rows` of length `dim` to their places among `values`.
fn scatter(values: &mut [f32], dim: usize, places: Vec<usize>, rows: &[f32]) {
    for (place, row) in places.into_iter().zip(rows.chunks_exact(dim)) {
        values[place * dim..][..dim].copy_from_slice(row);
    }
}

/// The embeddings of `input`, row by row.
pub(crate) fn embedded(encoder: &dyn Encoder, input: &Input) -> Result<Vec<f32>> {
    // On a thread of the pool: see the trainer.
    let rows = rayon::scope(|_| without_gradients(|| encoder.embed(input, Mode::Eval)))?;
    Ok(rows.flatten_all()?.to_vec1()?)
}

/// As [`embed`], of images that are no part of a set.
///
/// # Errors
/// When an image or the encoder refuses.
pub fn embed_images(encoder: &dyn Encoder, images: &dyn Inputs, device: &Device) -> Result<Embeddings> {
    let mut values = Vec::with_capacity(images.labels().len() * encoder.dim());
    for rows in images_in_batches(encoder, images, device) {
        values.extend(rows?);
    }
    Ok(Embeddings { values, dim: encoder.dim(), labels: images.labels().to_vec() })
}

/// As [`embed`], of texts that are no part of a set.
///
/// # Errors
/// When a text has no tokens or the encoder refuses.
pub fn embed_texts<S: AsRef<str> + Sync>(
    encoder: &dyn Encoder,
    tokenizer: &TextTokenizer,
    texts: &[S],
    device: &Device,
) -> Result<Vec<f32>> {
    let dim = encoder.dim();
    let mut values = vec![0.0; texts.len() * dim];
    for (indices, tokens) in tokenizer.encode_within(texts, TEXTS)? {
        scatter(&mut values, dim, indices, &embedded(encoder, &input_of(&tokens, device)?)?);
    }
    Ok(values)
}

/// As [`embed`], a block of rows after the other, of which none is kept; of pairs the first texts.
///
/// # Errors
/// Yields what an image, a text or the encoder refuses.
pub fn embed_in_batches<'a>(
    encoder: &'a dyn Encoder,
    set: &'a dyn Examples,
    device: &'a Device,
) -> Box<dyn Iterator<Item = Result<Vec<f32>>> + 'a> {
    /// Texts at a time: those of about one length go together, and the more there are the better they fit.
    const TEXTS: usize = 4096;
    if let Some(images) = set.images() {
        return Box::new(images_in_batches(encoder, images.as_ref(), device));
    }
    let Some(tokenizer) = set.tokenizer() else {
        return Box::new(std::iter::once_with(move || Ok(embed(encoder, set, device)?.values)));
    };
    let n = set.labels().len();
    Box::new((0..n).step_by(TEXTS).map(move |start| {
        let texts: Vec<&str> = (start..n.min(start + TEXTS)).filter_map(|index| set.text(index)).collect();
        embed_texts(encoder, tokenizer, &texts, device)
    }))
}

fn images_in_batches<'a>(
    encoder: &'a dyn Encoder,
    images: &'a dyn Inputs,
    device: &'a Device,
) -> impl Iterator<Item = Result<Vec<f32>>> + 'a {
    input_batches(images, BATCH).map(move |batch| embedded(encoder, &Input::Images(batch?.into_tensor(device)?)))
}

/// The pixels themselves as embeddings: the baseline every encoder must beat.
///
/// # Errors
/// When an image cannot be read.
pub fn pixels(set: &dyn Dataset) -> Result<Embeddings> {
    let mut values = Vec::new();
    for batch in eval_batches(set, &Normalize::default(), 100) {
        values.extend(batch?.pixels);
    }
    Ok(Embeddings { values, dim: set.shape().iter().product(), labels: set.labels().to_vec() })
}
