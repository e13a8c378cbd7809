//! Texts to rows of tokens, by the file that a model's tokenizer is published in.

use super::padding::{Filler, Pad, PadTo, Side};
use super::tokens::{Row, Tokens};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizers::{ModelWrapper, PaddingDirection, PostProcessor, Tokenizer, TruncationParams, TruncationStrategy};

/// How texts become rows of tokens. Lengths that the tokenizer's file gives are not used: these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerOptions {
    /// Most tokens of a text, special ones included. What is beyond is cut off where the file's `truncation.direction`
    /// says, and at the end where it says nothing. Default 128.
    pub max_length: usize,
    /// Whether the tokens of the file's `post_processor` are added, e.g. `[CLS]` and `[SEP]`. Default true.
    pub special_tokens: bool,
    /// How long the rows of a batch become. Default: as long as its longest.
    pub pad_to: PadTo,
    /// What short rows are filled with, and where. Default: what `padding` in the file says.
    pub pad: Option<Pad>,
}

impl Default for TokenizerOptions {
    fn default() -> Self {
        Self { max_length: 128, special_tokens: true, pad_to: PadTo::Longest, pad: None }
    }
}

/// Makes rows of tokens of texts. The tokens of a text depend on that text alone.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// The file it was read from, for messages.
    origin: PathBuf,
    /// What the file holds.
    source: Arc<[u8]>,
    max_length: usize,
    special_tokens: bool,
    pad_to: PadTo,
    filler: Filler,
}

impl fmt::Debug for TextTokenizer {
    // Without the vocabulary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextTokenizer")
            .field("origin", &self.origin)
            .field("max_length", &self.max_length)
            .field("special_tokens", &self.special_tokens)
            .field("pad_to", &self.pad_to)
            .field("filler", &self.filler)
            .finish()
    }
}

impl TextTokenizer {
    /// The tokenizer in a file `tokenizer.json`, as tokenizers and transformers write it.
    ///
    /// # Errors
    /// When the file is missing, is none, draws at random (BPE's dropout) or says nothing of padding while
    /// [`TokenizerOptions::pad`] does not either; when the options do not fit it or each other.
    pub fn open(path: impl AsRef<Path>, options: &TokenizerOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let mend = "bring the tokenizer.json that lies beside the model's weights".into();
                Error::Missing { path: path.to_owned(), mend }
            }
            _ => Error::io(path)(error),
        })?;
        Self::parse(&bytes, path, options)
    }

    /// The same of a file held in `bytes`; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(bytes: &[u8], origin: &Path, options: &TokenizerOptions) -> Result<Self> {
        let &TokenizerOptions { max_length, special_tokens, pad_to, ref pad } = options;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| {
            Error::format(origin, format!("not a tokenizer ({error}): give a tokenizer.json, not a vocabulary"))
        })?;
        check_certain(&tokenizer, origin)?;
        check_room(&tokenizer, max_length, special_tokens)?;
        pad_to.check(max_length)?;
        let filler = filler(&tokenizer, pad.as_ref(), origin)?;
        tokenizer.with_padding(None);
        cut_at(&mut tokenizer, max_length, origin)?;
        let (origin, source) = (origin.to_owned(), bytes.into());
        Ok(Self { tokenizer, origin, source, max_length, special_tokens, pad_to, filler })
    }

    /// The `tokenizer.json` that it was read from.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Most tokens of a text, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.filler.id
    }

    /// One more than the largest id: the rows that a table of embeddings needs.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |largest| largest as usize + 1)
    }

    /// The tokens of `texts`, in one block.
    ///
    /// # Errors
    /// With the first text that has no tokens or cannot be tokenised.
    pub fn encode<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Tokens> {
        let all: Vec<usize> = (0..texts.len()).collect();
        Ok(self.pad(&self.rows("these texts", &all, |index| texts[index].as_ref())?))
    }

    /// The tokens of the texts at `indices` of `set`, by rayon's threads.
    pub(super) fn rows<'a>(
        &self,
        set: &str,
        indices: &[usize],
        text: impl Fn(usize) -> &'a str + Sync,
    ) -> Result<Vec<Row>> {
        let row = |&index: &usize| {
            self.row(text(index)).map_err(|problem| Error::Text { set: set.to_owned(), index, problem })
        };
        // Of several errors the first, whichever thread is done first.
        indices.par_iter().map(row).collect::<Vec<Result<Row>>>().into_iter().collect()
    }

    fn row(&self, text: &str) -> std::result::Result<Row, String> {
        let encoding = self.tokenizer.encode_fast(text, self.special_tokens).map_err(|error| {
            format!(
                "is not tokenised by {} ({error}): change the text or take another tokenizer",
                self.origin.display()
            )
        })?;
        if encoding.is_empty() {
            return Err("has no tokens, so that there is nothing to embed: leave it out, or add special tokens".into());
        }
        if encoding.len() > self.max_length {
            let (tokens, most, file) = (encoding.len(), self.max_length, self.origin.display());
            return Err(format!(
                "has {tokens} tokens, cut at {most}: the post_processor of {file} repeats a text, mend it"
            ));
        }
        Ok(Row { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec() })
    }

    /// Rows as one block.
    pub(super) fn pad<R: Borrow<Row>>(&self, rows: &[R]) -> Tokens {
        let longest = rows.iter().map(|row| row.borrow().len()).max().unwrap_or(0);
        Tokens::padded(rows, self.length(longest), self.filler)
    }

    /// The length of the rows of a batch whose longest has `longest` tokens.
    pub(super) fn length(&self, longest: usize) -> usize {
        self.pad_to.length(longest)
    }
}

/// Refuses a model that gives a text other tokens each time.
fn check_certain(tokenizer: &Tokenizer, origin: &Path) -> Result<()> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) if bpe.dropout.is_some_and(|dropout| dropout > 0.0) => {
            let dropout = bpe.dropout.unwrap_or_default();
            let problem = format!("its model leaves out merges at random, model.dropout = {dropout}: set it to null");
            Err(Error::format(origin, problem))
        }
        _ => Ok(()),
    }
}

/// Refuses a length that special tokens fill.
fn check_room(tokenizer: &Tokenizer, max_length: usize, special_tokens: bool) -> Result<()> {
    let added = tokenizer.get_post_processor().filter(|_| special_tokens).map_or(0, |add| add.added_tokens(false));
    if max_length > added {
        return Ok(());
    }
    let problem = format!("max_length = {max_length} leaves no room for a text beside {added} special tokens");
    Err(Error::Invalid(format!("{problem}: give at least {}", added + 1)))
}

fn filler(tokenizer: &Tokenizer, pad: Option<&Pad>, origin: &Path) -> Result<Filler> {
    if let Some(Pad { token, side }) = pad {
        let id = tokenizer.token_to_id(token).ok_or_else(|| {
            let file = origin.display();
            Error::Invalid(format!("pad.token = `{token}` is not in the vocabulary of {file}: name one that is"))
        })?;
        return Ok(Filler { id, type_id: 0, side: *side });
    }
    let padding = tokenizer.get_padding().ok_or_else(|| {
        let problem = "has no `padding`, so that nothing says which token fills short rows, and on which side: give \
                       TokenizerOptions::pad, e.g. the pad_token of tokenizer_config.json";
        Error::format(origin, problem)
    })?;
    if tokenizer.id_to_token(padding.pad_id).is_none() {
        let problem =
            format!("padding.pad_id = {} is not in its vocabulary: give TokenizerOptions::pad", padding.pad_id);
        return Err(Error::format(origin, problem));
    }
    let side = match padding.direction {
        PaddingDirection::Left => Side::Left,
        PaddingDirection::Right => Side::Right,
    };
    Ok(Filler { id: padding.pad_id, type_id: padding.pad_type_id, side })
}

/// Cuts texts at `max_length` tokens, on the side that the file says.
fn cut_at(tokenizer: &mut Tokenizer, max_length: usize, origin: &Path) -> Result<()> {
    let direction = tokenizer.get_truncation().map(|cut| cut.direction).unwrap_or_default();
    // The check of `with_truncation` subtracts special tokens even where none are added, and below 0.
    let cut =
        TruncationParams { direction, max_length: usize::MAX, strategy: TruncationStrategy::LongestFirst, stride: 0 };
    tokenizer.with_truncation(Some(cut)).map_err(|error| Error::format(origin, format!("cannot truncate: {error}")))?;
    if let Some(cut) = tokenizer.get_truncation_mut() {
        cut.max_length = max_length;
    }
    Ok(())
}
