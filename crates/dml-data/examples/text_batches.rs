//! From a published set of texts to token batches, in order and by length:
//!
//! `cargo run --release -p dml-data --features text --example text_batches -- DATA_DIR TOKENIZER.json`
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use dml_data::sampler::{CoveringPkSampler, Short};
use dml_data::sources::banking77;
use dml_data::text::{
    TextTokenizer, TokenBatch, TokenBudget, TokenLoader, TokenizerOptions, budget_batches, token_batches,
};
use dml_data::{LoaderOptions, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, file] = &arguments[..] else {
        return Err("usage: text_batches DATA_DIR TOKENIZER.json (cargo xtask dataset fetch banking77)".into());
    };
    let tokenizer = Arc::new(TextTokenizer::open(file, &TokenizerOptions::default())?);
    println!("{} ids, short rows are filled with {}", tokenizer.vocabulary_size(), tokenizer.pad_id());
    let train = Arc::new(banking77::open(Path::new(data_dir))?.part("train")?);
    println!("{}: {} texts of {} classes", train.name(), train.len(), train.class_names().len());

    let start = Instant::now();
    let batches: Vec<TokenBatch> = token_batches(&train, &tokenizer, 64).collect::<Result<_>>()?;
    report("in order, 64 texts each", &batches, start);
    let start = Instant::now();
    let budget = TokenBudget { max_tokens: 2_048, ..TokenBudget::default() };
    let batches: Vec<TokenBatch> = budget_batches(&train, &tokenizer, budget)?.collect();
    report("by length, 2,048 tokens each", &batches, start);

    let start = Instant::now();
    let sampler = Box::new(CoveringPkSampler::new(train.labels(), 16, 4, Short::Repeat, 0)?);
    let loader = TokenLoader::new(train, tokenizer, sampler, 0, LoaderOptions::default());
    let batches: Vec<TokenBatch> = loader.take(100).collect::<Result<_>>()?;
    report("for training, 16 classes × 4 texts", &batches, start);
    Ok(())
}

fn report(what: &str, batches: &[TokenBatch], start: Instant) {
    let (texts, places): (usize, usize) =
        batches.iter().fold((0, 0), |(n, p), batch| (n + batch.indices.len(), p + batch.tokens.ids.len()));
    let tokens: usize = batches.iter().flat_map(|batch| &batch.tokens.mask).map(|&mask| mask as usize).sum();
    println!(
        "{what}: {} batches, {texts} texts, {tokens} tokens, {:.0} % padding, {:.2?}",
        batches.len(),
        100.0 * (places - tokens) as f64 / places as f64,
        start.elapsed()
    );
}
