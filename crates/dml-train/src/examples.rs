//! What is trained on and measured: images, texts, or pairs of texts, behind one trait. Examples of two views are in
//! [`two_views`](crate::two_views).

use crate::Result;
use candle_core::Device;
use dml_data::text::{PairBatch, TextTokenizer, TokenBatch, TokenBudget, TokenLoader, Tokens, budget_batches};
use dml_data::{BatchSampler, ByteInputs, ByteLoader, Inputs, Loader, LoaderOptions, TextPairs, Texts, input_batches};
use dml_models::Input;
use std::sync::Arc;

/// Batches as they come.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<ExampleBatch>> + 'a>;

/// How training batches are prepared. Nothing of it changes a batch, but for files that cannot be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streamed {
    /// How far ahead, and what becomes of broken files.
    pub loader: LoaderOptions,
    /// Whether images go to the device as bytes, where they can, and are normalised there: a quarter of the way's load for a GPU.
    pub bytes: bool,
}

/// Labelled examples that an encoder embeds.
pub trait Examples: Send + Sync {
    /// Short name for messages, e.g. `banking77/train`.
    fn name(&self) -> &str;

    /// The class of each example; of pairs its number.
    fn labels(&self) -> &[u32];

    /// The name of each class; none: they are pairs.
    fn class_names(&self) -> &[String];

    /// What example `index` is called, unique in the set.
    fn id(&self, index: usize) -> String {
        format!("{}/{index}", self.name())
    }

    /// The images, if that is what they are.
    fn images(&self) -> Option<&Arc<dyn Inputs>> {
        None
    }

    /// The text of example `index`, or the first one of a pair, if that is what they are.
    fn text(&self, index: usize) -> Option<&str> {
        let _ = index;
        None
    }

    /// What makes tokens of the texts, if that is what they are.
    fn tokenizer(&self) -> Option<&TextTokenizer> {
        None
    }

    /// Endless training batches as `sampler` deals them, from step `start_step` on, drawn from `seed`, prepared ahead as `how` says.
    fn stream(
        &self,
        sampler: Box<dyn BatchSampler>,
        seed_and_start_step: (u64, u64),
        how: Streamed,
    ) -> Batches<'static>;

    /// Every example once, as it is for evaluation, in an order that suits the encoder: [`ExampleBatch::indices`] says which is
    /// where.
    ///
    /// # Errors
    /// When a text has no tokens.
    fn all(&self) -> Result<Batches<'_>>;
}

/// Examples of a step, on their way to the encoder.
pub struct ExampleBatch {
    /// Number of each example in its set.
    pub indices: Vec<usize>,
    /// The class of each; of pairs its number.
    pub labels: Vec<u32>,
    /// How alike the texts of each pair are; empty where that is not what is learned.
    pub grades: Vec<f32>,
    /// Examples that were left out because their files cannot be read, and why.
    pub skipped: Vec<(usize, String)>,
    /// One of each example, or two whose rows go together.
    views: Vec<View>,
}

enum View {
    Images(dml_data::Batch),
    Bytes(dml_data::ByteBatch, Arc<dyn ByteInputs>),
    Texts(Tokens),
}

impl ExampleBatch {
    /// The inputs on `device`: one view of each example, or two, whose rows go together.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn into_views(self, device: &Device) -> Result<Vec<Input>> {
        let input = |view| match view {
            View::Images(batch) => Ok(Input::Images(batch.into_tensor(device)?)),
            View::Bytes(batch, of) => Ok(Input::Images(batch.to_tensor(of.normalize(), device)?)),
            View::Texts(tokens) => input_of(&tokens, device),
        };
        self.views.into_iter().map(input).collect()
    }

    /// The same with another view of each example.
    ///
    /// # Errors
    /// When the other has lost other examples.
    pub(crate) fn with_view(self, other: Self) -> Result<Self> {
        let differ = self.indices != other.indices;
        self.beside(other, differ, "two views of a batch have lost different samples")
    }

    /// The same with another example of its class beside each.
    ///
    /// # Errors
    /// When one of the two has lost any: its rows would stand beside those of others, even where both have lost as many.
    pub(crate) fn with_references(self, other: Self) -> Result<Self> {
        let differ = !self.skipped.is_empty() || !other.skipped.is_empty();
        self.beside(other, differ, "queries and gallery images of a batch have lost samples")
    }

    /// The same with the views of `other` beside its own, unless their rows `differ`.
    fn beside(mut self, other: Self, differ: bool, what: &str) -> Result<Self> {
        if differ {
            let lost = self.skipped.iter().chain(&other.skipped).map(|(_, why)| why.as_str()).collect::<Vec<_>>();
            return Err(dml_data::Error::Invalid(format!("{what} ({})", lost.join("; "))).into());
        }
        self.views.extend(other.views);
        Ok(self)
    }

    /// The same with a text of each example, a row each.
    pub(crate) fn with_texts(mut self, tokens: Tokens) -> Self {
        self.views.push(View::Texts(tokens));
        self
    }
}

/// Tokens as the input of an encoder.
pub(crate) fn input_of(tokens: &Tokens, device: &Device) -> Result<Input> {
    let tensors = tokens.to_tensors(device)?;
    Ok(Input::Tokens(dml_models::Tokens { ids: tensors.ids, mask: tensors.mask, types: Some(tensors.type_ids) }))
}

impl From<dml_data::Batch> for ExampleBatch {
    fn from(batch: dml_data::Batch) -> Self {
        let (indices, labels, skipped) = (batch.indices.clone(), batch.labels.clone(), batch.skipped.clone());
        Self { indices, labels, skipped, grades: vec![], views: vec![View::Images(batch)] }
    }
}

impl From<(dml_data::ByteBatch, Arc<dyn ByteInputs>)> for ExampleBatch {
    fn from((batch, of): (dml_data::ByteBatch, Arc<dyn ByteInputs>)) -> Self {
        let (indices, labels, skipped) = (batch.indices.clone(), batch.labels.clone(), batch.skipped.clone());
        Self { indices, labels, skipped, grades: vec![], views: vec![View::Bytes(batch, of)] }
    }
}

impl From<TokenBatch> for ExampleBatch {
    fn from(TokenBatch { indices, labels, tokens, .. }: TokenBatch) -> Self {
        Self { indices, labels, skipped: vec![], grades: vec![], views: vec![View::Texts(tokens)] }
    }
}

impl From<PairBatch> for ExampleBatch {
    fn from(PairBatch { indices, scores, sides, .. }: PairBatch) -> Self {
        let labels = indices.iter().map(|&index| index as u32).collect();
        Self { indices, labels, skipped: vec![], grades: scores, views: sides.into_iter().map(View::Texts).collect() }
    }
}

/// Batches of one kind as those of all kinds.
fn any_kind<'a, B: Into<ExampleBatch>>(batches: impl Iterator<Item = dml_data::Result<B>> + 'a) -> Batches<'a> {
    Box::new(batches.map(|batch| Ok(batch?.into())))
}

/// Images that are embedded at a time.
const IMAGES: usize = 100;

/// Images with their classes.
pub struct Images(pub Arc<dyn Inputs>);

impl Examples for Images {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn id(&self, index: usize) -> String {
        self.0.id(index)
    }

    fn labels(&self) -> &[u32] {
        self.0.labels()
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }

    fn images(&self) -> Option<&Arc<dyn Inputs>> {
        Some(&self.0)
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, from: (u64, u64), how: Streamed) -> Batches<'static> {
        let bytes = if how.bytes { self.0.clone().as_bytes() } else { None };
        match bytes {
            Some(inputs) => {
                let batches = ByteLoader::bytes(inputs.clone(), sampler, from, how.loader);
                any_kind(batches.map(move |batch| Ok((batch?, inputs.clone()))))
            }
            None => any_kind(Loader::over(self.0.clone(), sampler, from, how.loader)),
        }
    }

    fn all(&self) -> Result<Batches<'_>> {
        Ok(any_kind(input_batches(self.0.as_ref(), IMAGES)))
    }
}

/// What is embedded at a time when nothing is learned: rows of little padding, within the caches of a processor.
pub(crate) const TEXTS: TokenBudget = TokenBudget { max_tokens: 4096, max_texts: 128 };

/// Texts with their classes.
pub struct LabelledTexts {
    /// The texts.
    pub texts: Arc<Texts>,
    /// What makes tokens of them.
    pub tokenizer: Arc<TextTokenizer>,
}

impl Examples for LabelledTexts {
    fn name(&self) -> &str {
        self.texts.name()
    }

    fn labels(&self) -> &[u32] {
        self.texts.labels()
    }

    fn class_names(&self) -> &[String] {
        self.texts.class_names()
    }

    fn text(&self, index: usize) -> Option<&str> {
        Some(self.texts.text(index))
    }

    fn tokenizer(&self) -> Option<&TextTokenizer> {
        Some(&self.tokenizer)
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, from: (u64, u64), how: Streamed) -> Batches<'static> {
        // Nothing is drawn but by the sampler.
        any_kind(TokenLoader::new(self.texts.clone(), self.tokenizer.clone(), sampler, from.1, how.loader))
    }

    fn all(&self) -> Result<Batches<'_>> {
        Ok(any_kind(budget_batches(&self.texts, &self.tokenizer, TEXTS)?.map(Ok)))
    }
}

/// Pairs of texts: two views of each example, or, where grades are learned, the pairs with their grades.
pub struct PairedTexts {
    /// The pairs.
    pub pairs: Arc<TextPairs>,
    /// What makes tokens of them.
    pub tokenizer: Arc<TextTokenizer>,
    /// Whether the grades are what is learned.
    pub graded: bool,
    numbers: Vec<u32>,
}

impl PairedTexts {
    /// `pairs` as examples.
    pub fn new(pairs: TextPairs, tokenizer: Arc<TextTokenizer>, graded: bool) -> Self {
        let numbers = (0..pairs.len() as u32).collect();
        Self { pairs: Arc::new(pairs), tokenizer, graded, numbers }
    }
}

impl Examples for PairedTexts {
    fn name(&self) -> &str {
        self.pairs.name()
    }

    fn labels(&self) -> &[u32] {
        &self.numbers
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn text(&self, index: usize) -> Option<&str> {
        Some(self.pairs.pair(index)[0])
    }

    fn tokenizer(&self) -> Option<&TextTokenizer> {
        Some(&self.tokenizer)
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, from: (u64, u64), how: Streamed) -> Batches<'static> {
        let graded = self.graded;
        let batches = TokenLoader::pairs(self.pairs.clone(), self.tokenizer.clone(), sampler, from.1, how.loader);
        Box::new(batches.map(move |batch| {
            let mut batch = ExampleBatch::from(batch?);
            if !graded {
                batch.grades.clear();
            }
            Ok(batch)
        }))
    }

    fn all(&self) -> Result<Batches<'_>> {
        Ok(any_kind(dml_data::text::pair_batches(&self.pairs, &self.tokenizer, TEXTS.max_texts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(indices: &[usize], lost: &[usize]) -> ExampleBatch {
        let skipped = lost.iter().map(|&index| (index, format!("{index}.png"))).collect();
        let labels = vec![0; indices.len()];
        ExampleBatch { indices: indices.to_vec(), labels, grades: vec![], skipped, views: vec![] }
    }

    #[test]
    fn rows_that_would_stand_beside_those_of_others_are_refused() {
        batch(&[0, 1], &[2]).with_view(batch(&[0, 1], &[2])).ok().unwrap();
        batch(&[0, 1], &[]).with_references(batch(&[7, 9], &[])).ok().unwrap();
        let message = batch(&[0, 1], &[2]).with_view(batch(&[0, 2], &[1])).err().unwrap().to_string();
        assert!(message.contains("lost different samples (2.png; 1.png)"), "{message}");
        // As many of each, but of other rows.
        let message = batch(&[0, 1], &[2]).with_references(batch(&[8, 9], &[7])).err().unwrap().to_string();
        assert!(message.contains("have lost samples (2.png; 7.png)"), "{message}");
    }
}
