//! The encoder of a run folder: of pictures, of texts, or of both.

use super::pictures::{self, How, Pictures};
use super::texts::{self, Texts, holds_texts};
use crate::train::Parent;
use anyhow::Result;
use dml_data::Image;
use dml_gallery::{Model, sha256_of};
use dml_models::Encoder as _;
use dml_serve::{Encode, EncodeError, Item, Takes};
use dml_train::run::RunFolder;
use dml_train::trained::Trained;
use image::ImageReader;
use rayon::prelude::*;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most pixels of a picture: a small file may claim as many as it likes, and they all take memory.
const PIXELS: u64 = 50_000_000;

/// The encoder of a run: of pictures, of texts, or of both.
pub(crate) struct RunEncoder {
    pictures: Option<Pictures>,
    texts: Option<Texts>,
    model: Model,
}

impl RunEncoder {
    pub(crate) fn open(run_dir: &Path, parent: &Parent) -> Result<Self> {
        let device = parent.device()?;
        let folder = RunFolder::existing(run_dir)?;
        let Trained { recipe, network, pictures, tokenizer } = Trained::open(&folder, &device)?;
        let encoder = Arc::new(network);
        let texts = tokenizer.map(|tokenizer| Texts::of(tokenizer, encoder.clone(), device.clone()));
        let pictures = pictures.map(|pictures| Pictures::of(pictures, encoder.clone(), device));
        let done =
            [pictures.as_ref().map(Pictures::preprocessing).transpose()?, texts.as_ref().map(Texts::preprocessing)];
        let model = Model {
            weights_sha256: Some(sha256_of(&folder.encoder())?),
            dim: encoder.dim(),
            metric: recipe.metric()?,
            preprocessing: done.into_iter().flatten().collect::<Vec<_>>().join("; "),
        };
        Ok(Self { pictures, texts, model })
    }

    /// What `input` holds: texts, a picture, or a folder of them.
    pub(crate) fn list(&self, input: &Path) -> Result<Listed> {
        if self.texts.is_some() && (self.pictures.is_none() || holds_texts(input)) {
            let (texts, labels) = texts::read(input)?;
            return Ok(Listed { ids: texts.clone(), labels, items: Items::Texts(texts) });
        }
        let (files, labels) = pictures::files(input)?;
        let root = if input.is_dir() { input } else { input.parent().unwrap_or(Path::new("")) };
        let id = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).display().to_string();
        Ok(Listed { ids: files.iter().map(id).collect(), labels, items: Items::Files(files) })
    }

    /// Embeddings of what is listed, a block of rows after the other.
    pub(crate) fn embed<'a>(&'a self, listed: &'a Listed) -> Box<dyn Iterator<Item = Result<Vec<f32>>> + 'a> {
        match (&listed.items, &self.pictures, &self.texts) {
            (Items::Files(files), Some(pictures), _) => {
                Box::new(files.chunks(FILES).map(|files| Ok(pictures.embed_files(files)?)))
            }
            (Items::Texts(all), _, Some(texts)) => {
                Box::new(all.chunks(TEXTS).map(|chunk| Ok(texts.embed_each(chunk)?)))
            }
            // Nothing is listed that there is no encoder for.
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Length of an embedding.
    pub(crate) fn dim(&self) -> usize {
        self.model.dim
    }
}

/// Pictures that are embedded at a time.
const FILES: usize = 100;
/// Texts that are embedded at a time: those of about one length go together, and the more there are the better they fit.
const TEXTS: usize = 4096;

/// Pictures or texts of the user's.
pub(crate) struct Listed {
    /// What each is called.
    pub(crate) ids: Vec<String>,
    /// Whose each is, if that is known.
    pub(crate) labels: Option<Vec<String>>,
    items: Items,
}

enum Items {
    Files(Vec<PathBuf>),
    Texts(Vec<String>),
}

/// The encoder of a run, as a server wants it.
pub(crate) fn open(run_dir: &Path, parent: &Parent) -> Result<Box<dyn Encode>> {
    Ok(Box::new(RunEncoder::open(run_dir, parent)?))
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

impl Encode for RunEncoder {
    fn model(&self) -> &Model {
        &self.model
    }

    fn takes(&self) -> Takes {
        match (&self.pictures, &self.texts) {
            (Some(_), Some(_)) => Takes::Both,
            (Some(_), None) => Takes::Image,
            (None, _) => Takes::Text,
        }
    }

    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>> {
        let (images, others): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| matches!(item, Item::Image(_)));
        let not_taken = |items: &[&Item], what: &str| -> Vec<Result<Vec<f32>, EncodeError>> {
            items.iter().map(|_| Err(EncodeError::Failed(what.to_owned()))).collect()
        };
        let of_images = match &self.pictures {
            Some(pictures) => {
                let read: Vec<_> = images.par_iter().map(|item| picture(pictures.how(), item)).collect();
                embed_readable(read, self.model.dim, |read| pictures.embed_decoded(read))
            }
            None => not_taken(&images, "a picture for an encoder of texts"),
        };
        let of_texts = match &self.texts {
            Some(texts) => {
                let read = others.iter().map(|item| texts.text(item)).collect();
                embed_readable(read, self.model.dim, |read| texts.embed_each(read))
            }
            None => not_taken(&others, "a text for an encoder of pictures"),
        };
        let (mut of_images, mut of_texts) = (of_images.into_iter(), of_texts.into_iter());
        let lost = || Err(EncodeError::Failed("an embedding is missing".to_owned()));
        let of = |item: &Item| match item {
            Item::Image(_) => of_images.next().unwrap_or_else(lost),
            Item::Text(_) => of_texts.next().unwrap_or_else(lost),
        };
        items.iter().map(of).collect()
    }
}

/// The embeddings of those that could be read, in their places among those that could not.
fn embed_readable<T>(
    read: Vec<Result<T, EncodeError>>,
    dim: usize,
    embed: impl FnOnce(&[T]) -> dml_train::Result<Vec<f32>>,
) -> Vec<Result<Vec<f32>, EncodeError>> {
    if read.is_empty() {
        return vec![];
    }
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
