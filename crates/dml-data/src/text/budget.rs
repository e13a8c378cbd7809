//! Batches of so many tokens rather than so many texts.

use super::tokens::Row;
use super::{TextTokenizer, TokenBatch, Tokens};
use crate::{Error, Result, Texts};
use std::cmp::Reverse;

/// How large a batch may be, padding included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBudget {
    /// Most tokens: texts × length of their rows. A text whose row alone is longer is a batch of its own. Default 16,384.
    pub max_tokens: usize,
    /// Most texts. Default 512.
    pub max_texts: usize,
}

impl Default for TokenBudget {
    fn default() -> Self {
        Self { max_tokens: 16_384, max_texts: 512 }
    }
}

impl TokenBudget {
    fn check(self) -> Result<()> {
        for (name, value) in [("max_tokens", self.max_tokens), ("max_texts", self.max_texts)] {
            if value == 0 {
                return Err(Error::Invalid(format!("{name} = 0 leaves no room for a text: give at least 1")));
            }
        }
        Ok(())
    }

    /// Indices of texts of these `lengths`, longest first and of equal ones the first first; a batch whose longest has
    /// `n` tokens has rows of `padded(n)`.
    fn cut(self, lengths: &[usize], padded: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&index| Reverse(lengths[index]));
        let (mut batches, mut rest) = (vec![], &order[..]);
        while let Some(&longest) = rest.first() {
            let most = self.max_tokens / padded(lengths[longest]).max(1);
            let (batch, others) = rest.split_at(most.clamp(1, self.max_texts).min(rest.len()));
            batches.push(batch.to_vec());
            rest = others;
        }
        batches
    }
}

/// All texts, for evaluation: sorted by length and cut into batches within `budget`, so that little is padding.
///
/// The longest come first: where there is too little memory it shows at once. [`TokenBatch::indices`] says whose each
/// row is, so what a network makes of them can be put back in order. All texts are tokenised before the first batch.
///
/// # Errors
/// When the budget is 0; with the first text that has no tokens or cannot be tokenised.
pub fn budget_batches<'a>(
    texts: &'a Texts,
    tokenizer: &'a TextTokenizer,
    budget: TokenBudget,
) -> Result<impl ExactSizeIterator<Item = TokenBatch> + 'a> {
    let cut = within(tokenizer, texts.name(), texts.len(), |index| texts.text(index), budget)?;
    Ok(cut.enumerate().map(|(number, (indices, tokens))| {
        let labels = indices.iter().map(|&index| texts.labels()[index]).collect();
        TokenBatch { step: number as u64, indices, labels, tokens }
    }))
}

impl TextTokenizer {
    /// As [`budget_batches`], of any texts, such as both sides of all pairs: batches of rows, and whose each row is.
    ///
    /// # Errors
    /// As [`budget_batches`].
    pub fn encode_within<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        budget: TokenBudget,
    ) -> Result<impl ExactSizeIterator<Item = (Vec<usize>, Tokens)>> {
        within(self, "these texts", texts.len(), |index| texts[index].as_ref(), budget)
    }
}

/// Texts `0..count` of `set` in batches within `budget`.
fn within<'a>(
    tokenizer: &TextTokenizer,
    set: &str,
    count: usize,
    text: impl Fn(usize) -> &'a str + Sync,
    budget: TokenBudget,
) -> Result<impl ExactSizeIterator<Item = (Vec<usize>, Tokens)>> {
    budget.check()?;
    let all: Vec<usize> = (0..count).collect();
    let rows = tokenizer.rows(set, &all, text)?;
    let lengths: Vec<usize> = rows.iter().map(Row::len).collect();
    let batches = budget.cut(&lengths, |longest| tokenizer.length(longest));
    Ok(batches.into_iter().map(move |indices| {
        let held: Vec<&Row> = indices.iter().map(|&index| &rows[index]).collect();
        let tokens = tokenizer.pad(&held);
        (indices, tokens)
    }))
}
