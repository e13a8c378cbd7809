//! How long the rows of a batch become, and what fills them.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How long the rows of a batch become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadTo {
    /// As long as its longest. The default.
    #[default]
    Longest,
    /// The next multiple of this, at least 1; 8 suits tensor cores. It may lie beyond the tokenizer's `max_length`.
    Multiple(usize),
    /// Always so long; at least the tokenizer's `max_length`.
    Fixed(usize),
}

impl PadTo {
    /// The length of the rows of a batch whose longest has `longest` tokens.
    pub(super) fn length(self, longest: usize) -> usize {
        match self {
            Self::Longest => longest,
            Self::Multiple(of) => longest.checked_next_multiple_of(of).unwrap_or(longest),
            Self::Fixed(length) => length,
        }
    }

    /// Refuses lengths that rows of up to `max_length` tokens cannot have.
    pub(super) fn check(self, max_length: usize) -> Result<()> {
        match self {
            Self::Multiple(0) => Err(Error::Invalid("pad_to.multiple = 0: give at least 1".into())),
            Self::Fixed(length) if length < max_length => Err(Error::Invalid(format!(
                "pad_to.fixed = {length} but a text may have max_length = {max_length} tokens: lower max_length to \
                 {length} or raise pad_to.fixed"
            ))),
            _ => Ok(()),
        }
    }
}

/// Where padding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before the text.
    Left,
    /// Behind the text.
    Right,
}

/// What short rows are filled with, where a tokenizer's file does not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// A token of the vocabulary, e.g. `[PAD]`; models have it as `pad_token` in their `tokenizer_config.json`.
    pub token: String,
    /// Where it goes.
    pub side: Side,
}

/// [`Pad`] in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filler {
    pub(super) id: u32,
    pub(super) type_id: u32,
    pub(super) side: Side,
}
