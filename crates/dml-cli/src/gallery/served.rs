//! The encoder of a run folder behind `dml serve`.

use super::pictures::Encoded;
use anyhow::Result;
use dml_data::Image;
use dml_gallery::Model;
use dml_serve::{Encode, EncodeError, Item, Takes};
use image::ImageReader;
use rayon::prelude::*;
use std::io::Cursor;
use std::path::Path;

/// Most pixels of a picture: a small file may claim as many as it likes, and they all take memory.
const PIXELS: u64 = 50_000_000;

/// An encoder of pictures, and its fingerprint.
pub(crate) struct Served {
    encoded: Encoded,
    model: Model,
}

impl Encoded {
    pub(crate) fn served(self) -> Result<Served> {
        Ok(Served { model: self.model()?, encoded: self })
    }
}

impl Served {
    fn picture(&self, item: &Item) -> Result<Image, EncodeError> {
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
            return Err(unreadable(format!(
                "the picture has {width}x{height} pixels: want {PIXELS} at most, scale it"
            )));
        }
        self.encoded.decode(Path::new("the picture"), bytes).map_err(|error| unreadable(error.to_string()))
    }
}

impl Encode for Served {
    fn model(&self) -> &Model {
        &self.model
    }

    fn takes(&self) -> Takes {
        Takes::Image
    }

    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>> {
        let this = &*self;
        let (mut pictures, mut outcomes) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for picture in items.par_iter().map(|item| this.picture(item)).collect::<Vec<_>>() {
            outcomes.push(picture.map(|picture| pictures.push(picture)));
        }
        match self.encoded.embed_decoded(&pictures) {
            Ok(values) => {
                let mut rows = values.chunks_exact(self.model.dim);
                let lost = || EncodeError::Failed("an embedding is missing".to_owned());
                outcomes
                    .into_iter()
                    .map(|outcome| outcome.and_then(|()| rows.next().map(<[f32]>::to_vec).ok_or_else(lost)))
                    .collect()
            }
            Err(error) => {
                let failed = EncodeError::Failed(error.to_string());
                outcomes.into_iter().map(|outcome| outcome.and(Err(failed.clone()))).collect()
            }
        }
    }
}
