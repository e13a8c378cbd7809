//! Texts as network input: rows of tokens, padded to batches.
//!
//! ```text
//! Texts -> BatchSampler -> TokenLoader (tokenise, pad; prefetched, in order) -> TokenBatch
//! ```
//!
//! For evaluation [`token_batches`] and [`pair_batches`] go through a set in order, and [`budget_batches`] through texts
//! sorted by length, so that little of a batch is padding. A row depends on its text alone, so no batch depends on the
//! number of threads.
//!
//! ```
//! use dml_data::sampler::PkSampler;
//! use dml_data::text::{TextTokenizer, TokenLoader, TokenizerOptions};
//! use dml_data::{CatalogBuilder, LoaderOptions, Membership, Strings};
//! use std::{path::Path, sync::Arc};
//!
//! // A real one is opened by its path: `TextTokenizer::open("tokenizer.json", &options)`.
//! let file = r#"{
//!     "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
//!         "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
//!     "pre_tokenizer": {"type": "Whitespace"},
//!     "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "top": 2, "up": 3}}
//! }"#;
//! let tokenizer = TextTokenizer::parse(file.as_bytes(), Path::new("tokenizer.json"), &TokenizerOptions::default())?;
//! let mut texts = CatalogBuilder::new("questions", "questions.csv", Strings::default());
//! texts.add(Membership::new("top_up", "train"), "top up")?;
//! texts.add(Membership::new("card", "train"), "card")?;
//! let texts = Arc::new(texts.finish());
//! let sampler = Box::new(PkSampler::new(texts.labels(), 2, 1, 0)?);
//! let mut loader = TokenLoader::new(texts, Arc::new(tokenizer), sampler, 0, LoaderOptions::default());
//! let batch = loader.next().expect("the loader is endless")?;
//! assert_eq!(batch.tokens.shape, [2, 2]);
//! # Ok::<(), dml_data::Error>(())
//! ```

mod batch;
mod budget;
mod loader;
mod padding;
mod tokenizer;
mod tokens;

pub use batch::{PairBatch, TokenBatch, pair_batches, token_batches};
pub use budget::{TokenBudget, budget_batches};
pub use loader::TokenLoader;
pub use padding::{Pad, PadTo, Side};
pub use tokenizer::{TextTokenizer, TokenizerOptions};
#[cfg(feature = "candle")]
pub use tokens::TokenTensors;
pub use tokens::Tokens;
