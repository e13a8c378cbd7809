//! Texts through the encoder of a run folder.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use dml_data::sources::own_texts;
use dml_data::text::TextTokenizer;
use dml_models::Network;
use dml_serve::{EncodeError, Item};
use dml_train::embedding::embed_texts;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// An encoder of texts.
pub(super) struct Texts {
    encoder: Arc<Network>,
    tokenizer: TextTokenizer,
    device: Device,
}

impl Texts {
    /// The encoder of a run that has learned from texts, of which `tokenizer` makes tokens.
    pub(super) fn of(tokenizer: TextTokenizer, encoder: Arc<Network>, device: Device) -> Self {
        Self { encoder, tokenizer, device }
    }

    /// What is done to texts, for a fingerprint.
    pub(super) fn preprocessing(&self) -> String {
        let (most, words) = (self.tokenizer.max_length(), self.tokenizer.vocabulary_size());
        format!("texts of at most {most} tokens, of a vocabulary of {words}")
    }

    /// The text of an item, if there is something to embed.
    pub(super) fn text(&self, item: &Item) -> Result<String, EncodeError> {
        match item {
            // Its tokens are made again with those of all others; one that has none must not fail them.
            Item::Text(text) => match self.tokenizer.encode(&[text]) {
                Ok(_) => Ok(text.clone()),
                Err(error) => Err(EncodeError::Unreadable(error.to_string())),
            },
            Item::Image(_) => Err(EncodeError::Failed("a picture for an encoder of texts".to_owned())),
        }
    }

    /// The embeddings of texts that have tokens.
    pub(super) fn embed_each(&self, texts: &[String]) -> dml_train::Result<Vec<f32>> {
        embed_texts(self.encoder.as_ref(), &self.tokenizer, texts, &self.device)
    }
}

/// Whether a file holds texts, by what its name ends in.
pub(super) fn holds_texts(input: &Path) -> bool {
    ["txt", "csv", "tsv"].contains(&ending(input).as_str())
}

fn ending(input: &Path) -> String {
    input.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The texts of a file, and whose they are if it is a table.
pub(super) fn read(input: &Path) -> Result<(Vec<String>, Option<Vec<String>>)> {
    let (texts, labels) = match ending(input).as_str() {
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
    if texts.is_empty() {
        bail!("{} holds no texts: give one or more", input.display());
    }
    match texts.iter().position(|text| text.trim().is_empty()) {
        Some(i) => bail!("{}: text {} is empty: remove it", input.display(), i + 1),
        None => Ok((texts, labels)),
    }
}
