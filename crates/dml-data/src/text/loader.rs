//! Token batches ahead of the step that needs them.

use super::{PairBatch, TextTokenizer, TokenBatch};
use crate::loader::{Dealt, Stepped, Steps};
use crate::{BatchSampler, LoaderOptions, Result, TextPairs, Texts};
use std::sync::Arc;

/// An ordered stream of training batches of texts, prepared on threads of its own, as [`Loader`](crate::Loader) is one of
/// images; endless, but for [`LoaderOptions::until`].
///
/// Step `s` is batch `s % b` of epoch `s / b`, with `b` batches per epoch. The first error is delivered in its place and
/// ends the stream. Dropping the loader stops the threads. No setting of [`LoaderOptions`] changes a batch: texts lie in
/// memory, so `unreadable` has nothing to decide.
#[derive(Debug)]
pub struct TokenLoader<B = TokenBatch> {
    batches: Stepped<B>,
}

impl TokenLoader {
    /// A stream of texts with their classes, which begins at `start_step`.
    pub fn new(
        texts: Arc<Texts>,
        tokenizer: Arc<TextTokenizer>,
        sampler: Box<dyn BatchSampler>,
        start_step: u64,
        options: LoaderOptions,
    ) -> Self {
        let steps = Steps::new(sampler, texts.len(), None);
        let prepare = move |Dealt { step, indices, .. }: Dealt| TokenBatch::prepare(&texts, &tokenizer, step, indices);
        Self { batches: Stepped::new(steps, start_step, options, prepare) }
    }
}

impl TokenLoader<PairBatch> {
    /// A stream of scored pairs, which begins at `start_step`; what the sampler deals are pairs.
    pub fn pairs(
        pairs: Arc<TextPairs>,
        tokenizer: Arc<TextTokenizer>,
        sampler: Box<dyn BatchSampler>,
        start_step: u64,
        options: LoaderOptions,
    ) -> Self {
        let steps = Steps::new(sampler, pairs.len(), None);
        let prepare = move |Dealt { step, indices, .. }: Dealt| PairBatch::prepare(&pairs, &tokenizer, step, indices);
        Self { batches: Stepped::new(steps, start_step, options, prepare) }
    }
}

impl<B> Iterator for TokenLoader<B> {
    type Item = Result<B>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}
