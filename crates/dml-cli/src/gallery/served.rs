//! The encoder of a run folder, of pictures or of texts.

use super::pictures::{Encoded, How};
use super::texts::Texts;
use crate::train::Parent;
use anyhow::Result;
use dml_data::Image;
use dml_gallery::Model;
use dml_serve::{Encode, EncodeError, Item, Takes};
use dml_train::Recipe;
use dml_train::run::RunFolder;
use image::ImageReader;
use rayon::prelude::*;
use std::io::Cursor;
use std::path::Path;

/// Most pixels of a picture: a small file may claim as many as it likes, and they all take memory.
const PIXELS: u64 = 50_000_000;

/// An encoder of pictures, and its fingerprint.
struct Pictures {
    encoded: Encoded,
    model: Model,
}

/// Whether a run has learned from texts, and not from pictures.
pub(super) fn learned_texts(run_dir: &Path) -> Result<bool> {
    Ok(Recipe::read(&RunFolder::existing(run_dir)?.recipe(), &[])?.model.text_sizes().is_some())
}

/// The encoder of a run, of pictures or of texts.
pub(crate) fn open(run_dir: &Path, parent: &Parent) -> Result<Box<dyn Encode>> {
    if learned_texts(run_dir)? {
        return Ok(Box::new(Texts::open(run_dir, parent)?));
    }
    let encoded = Encoded::open(run_dir, parent)?;
    Ok(Box::new(Pictures { model: encoded.model()?, encoded }))
}

/// The picture of an item, as the encoder wants it.
fn picture(how: &How, item: &Item) -> Result<Image, EncodeError> {
    let unreadable = |problem: String| EncodeError::Unreadable(problem);
    let Item::Image(bytes) = item else {
        return Err(EncodeError::Failed("a text for an encoder of pictures".to_owned()));
    };
    let sides = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string());
    let sides = sides.and_then(|reader| reader.into_dimensions().map_err(|error| error.to_string()));
    let (width, height) = sides.map_err(|problem| {
        unreadable(format!("not a readable picture ({problem}): send PNG, JPEG, WebP, BMP or PNM"))
    })?;
    if u64::from(width) * u64::from(height) > PIXELS {
        return Err(unreadable(format!("the picture has {width}x{height} pixels: want {PIXELS} at most, scale it")));
    }
    how.decode(Path::new("the picture"), bytes).map_err(|error| unreadable(error.to_string()))
}

impl Encode for Pictures {
    fn model(&self) -> &Model {
        &self.model
    }

    fn takes(&self) -> Takes {
        Takes::Image
    }

    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>> {
        let how = self.encoded.how();
        let pictures: Vec<_> = items.par_iter().map(|item| picture(how, item)).collect();
        embed_readable(pictures, self.model.dim, |pictures| self.encoded.embed_decoded(pictures))
    }
}

/// The embeddings of those that could be read, in their places among those that could not.
pub(super) fn embed_readable<T>(
    read: Vec<Result<T, EncodeError>>,
    dim: usize,
    embed: impl FnOnce(&[T]) -> dml_train::Result<Vec<f32>>,
) -> Vec<Result<Vec<f32>, EncodeError>> {
    let (mut readable, mut outcomes) = (Vec::with_capacity(read.len()), Vec::with_capacity(read.len()));
    for item in read {
        outcomes.push(item.map(|item| readable.push(item)));
    }
    let values = embed(&readable).map_err(|error| EncodeError::Failed(error.to_string()));
    let mut rows = values.as_ref().map(|values| values.chunks_exact(dim));
    let mut next = || match &mut rows {
        Ok(rows) => {
            let lost = || EncodeError::Failed("an embedding is missing".to_owned());
            rows.next().map(<[f32]>::to_vec).ok_or_else(lost)
        }
        Err(error) => Err(EncodeError::clone(error)),
    };
    outcomes.into_iter().map(|outcome| outcome.and_then(|()| next())).collect()
}
