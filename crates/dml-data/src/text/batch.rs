//! Tokens of a step with what is known of them: a class each, or a score a pair.

use super::{TextTokenizer, Tokens};
use crate::batch::in_order;
use crate::{Result, TextPairs, Texts};

/// Texts of one step, ready for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// The training step, or the number of the batch in order.
    pub step: u64,
    /// Index of each text in its data set.
    pub indices: Vec<usize>,
    /// Class of each text.
    pub labels: Vec<u32>,
    /// The texts, a row each.
    pub tokens: Tokens,
}

impl TokenBatch {
    pub(super) fn prepare(texts: &Texts, tokenizer: &TextTokenizer, step: u64, indices: Vec<usize>) -> Result<Self> {
        let rows = tokenizer.rows(texts.name(), &indices, |index| texts.text(index))?;
        let labels = indices.iter().map(|&index| texts.labels()[index]).collect();
        Ok(Self { step, indices, labels, tokens: tokenizer.pad(&rows) })
    }
}

/// Scored pairs of one step, ready for a network.
#[derive(Debug, Clone, PartialEq)]
pub struct PairBatch {
    /// The training step, or the number of the batch in order.
    pub step: u64,
    /// Index of each pair in its data set.
    pub indices: Vec<usize>,
    /// Score of each pair.
    pub scores: Vec<f32>,
    /// The first texts of the pairs, a row each, and the second ones; each side has a length of its own.
    pub sides: [Tokens; 2],
}

impl PairBatch {
    pub(super) fn prepare(
        pairs: &TextPairs,
        tokenizer: &TextTokenizer,
        step: u64,
        indices: Vec<usize>,
    ) -> Result<Self> {
        let side = |side: usize| {
            let set = format!("{}, {} side", pairs.name(), ["left", "right"][side]);
            tokenizer.rows(&set, &indices, |index| pairs.pair(index)[side]).map(|rows| tokenizer.pad(&rows))
        };
        let sides = [side(0)?, side(1)?];
        let scores = indices.iter().map(|&index| pairs.scores()[index]).collect();
        Ok(Self { step, indices, scores, sides })
    }
}

/// The texts in order, `batch_size` at a time (at least 1).
///
/// Yields an error, and then nothing, when a text has no tokens or cannot be tokenised.
pub fn token_batches<'a>(
    texts: &'a Texts,
    tokenizer: &'a TextTokenizer,
    batch_size: usize,
) -> impl Iterator<Item = Result<TokenBatch>> + 'a {
    in_order(texts.len(), batch_size, None, |number, indices| TokenBatch::prepare(texts, tokenizer, number, indices))
}

/// The pairs in order, `batch_size` at a time (at least 1).
///
/// Yields an error, and then nothing, when a text has no tokens or cannot be tokenised.
pub fn pair_batches<'a>(
    pairs: &'a TextPairs,
    tokenizer: &'a TextTokenizer,
    batch_size: usize,
) -> impl Iterator<Item = Result<PairBatch>> + 'a {
    in_order(pairs.len(), batch_size, None, |number, indices| PairBatch::prepare(pairs, tokenizer, number, indices))
}
