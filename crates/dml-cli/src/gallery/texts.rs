//! Texts through the encoder of a run folder.

use super::pictures::{Found, weights_of};
use super::served::embed_readable;
use crate::train::{Parent, reopen};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use dml_data::sources::own_texts;
use dml_data::text::TextTokenizer;
use dml_gallery::Model;
use dml_models::Encoder;
use dml_serve::{Encode, EncodeError, Item, Takes};
use dml_train::Trainer;
use dml_train::evaluation::embed_texts;
use std::fs;
use std::path::Path;

/// An encoder of texts.
pub(super) struct Texts {
    trainer: Trainer,
    tokenizer: TextTokenizer,
    device: Device,
    model: Model,
}

impl Texts {
    pub(super) fn open(run_dir: &Path, parent: &Parent) -> Result<Self> {
        let device = parent.device()?;
        let (recipe, sets, trainer) = reopen(run_dir, parent.data_dir.as_deref(), &device)?;
        let missing = || format!("{} was trained on {}, which holds no texts", run_dir.display(), recipe.data.set);
        let tokenizer = sets.still.tokenizer().with_context(missing)?.clone();
        let (most, words) = (tokenizer.max_length(), tokenizer.vocabulary_size());
        let model = Model {
            weights_sha256: Some(weights_of(run_dir)?),
            dim: trainer.encoder().dim(),
            metric: recipe.metric()?,
            preprocessing: format!("texts of at most {most} tokens, of a vocabulary of {words}"),
        };
        Ok(Self { trainer, tokenizer, device, model })
    }

    /// The embeddings of the lines of a text file, or of the texts of a table, which says whose they are.
    pub(super) fn embed(&self, input: &Path) -> Result<Found> {
        let (texts, labels) = read(input)?;
        if let Some(i) = texts.iter().position(|text| text.trim().is_empty()) {
            bail!("{}: text {} is empty: remove it", input.display(), i + 1);
        }
        let values = embed_texts(self.trainer.encoder(), &self.tokenizer, &texts, &self.device)?;
        Ok(Found { values, ids: texts, labels })
    }
}

/// The texts of a file, and whose they are if it is a table.
fn read(input: &Path) -> Result<(Vec<String>, Option<Vec<String>>)> {
    let ending = input.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (texts, labels) = match ending.as_str() {
        "csv" | "tsv" => {
            let table = own_texts::open(input)?;
            let names = table.labels().iter().map(|&label| table.class_names()[label as usize].clone());
            ((0..table.labels().len()).map(|i| table.text(i).to_owned()).collect(), Some(names.collect()))
        }
        "txt" => {
            let text = fs::read_to_string(input).with_context(|| format!("cannot read {}", input.display()))?;
            (text.lines().map(str::to_owned).collect::<Vec<_>>(), None)
        }
        _ => bail!(
            "{}: the encoder takes texts: give a .txt file with one on each line, or a .csv or .tsv table with the columns \
             text and label",
            input.display()
        ),
    };
    match texts.is_empty() {
        true => bail!("{} holds no texts: give one or more", input.display()),
        false => Ok((texts, labels)),
    }
}

impl Encode for Texts {
    fn model(&self) -> &Model {
        &self.model
    }

    fn takes(&self) -> Takes {
        Takes::Text
    }

    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>> {
        let text = |item: &Item| match item {
            // Its tokens are made again with those of all others; one that has none must not fail them.
            Item::Text(text) => match self.tokenizer.encode(&[text]) {
                Ok(_) => Ok(text.clone()),
                Err(error) => Err(EncodeError::Unreadable(error.to_string())),
            },
            Item::Image(_) => Err(EncodeError::Failed("a picture for an encoder of texts".to_owned())),
        };
        embed_readable(items.iter().map(text).collect(), self.model.dim, |texts| {
            embed_texts(self.trainer.encoder(), &self.tokenizer, texts, &self.device)
        })
    }
}
