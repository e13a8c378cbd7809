//! A small tokenizer for the emoji's names, learned from the names of the training classes alone.
//!
//! ```text
//! cargo run --manifest-path datasets/emoji/builder/Cargo.toml --bin tokenizer -- datasets/emoji
//! ```
//!
//! Reads `names.tsv`, writes `tokenizer.json`: byte pair encoding (Sennrich et al. 2016) of words in small letters without
//! accents, a word's beginning marked by `▁`.

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::{Lowercase, NFKD, Sequence, StripAccents};
use tokenizers::pre_tokenizers::metaspace::Metaspace;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerBuilder,
};

/// Tokens, single letters included.
const TOKENS: usize = 1000;
/// The split rule of `datasets/emoji.toml`.
const SEED: u64 = 0;
const TEST: f64 = 0.5;
const VALIDATION: f64 = 0.25;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("usage: tokenizer FOLDER (it holds names.tsv)")?;
    let folder = Path::new(&folder);
    let text = std::fs::read_to_string(folder.join("names.tsv")).context("names.tsv")?;
    let rows: Vec<(&str, &str)> = text.lines().skip(1).filter_map(|line| line.split_once('\t')).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_cached_key(|&i| Sha256::new().chain_update(SEED.to_le_bytes()).chain_update(rows[i].0).finalize());
    let tests = (rows.len() as f64 * TEST).round() as usize;
    let validations = ((rows.len() - tests) as f64 * VALIDATION).round() as usize;
    let learned = order[tests + validations..].iter().flat_map(|&i| rows[i].1.split('\t'));
    let learned: Vec<&str> = learned.filter(|name| !name.is_empty()).collect();

    let failed = |error| anyhow!("{error}");
    let normalizer = Sequence::new(vec![NFKD.into(), StripAccents.into(), Lowercase.into()]);
    let mut tokenizer =
        TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new()
            .with_model(BPE::builder().unk_token("[UNK]".to_owned()).build().map_err(failed)?)
            .with_normalizer(Some(normalizer.into()))
            .with_pre_tokenizer(Some(Metaspace::default().into()))
            .build()
            .map_err(failed)?;
    let special = ["[PAD]", "[UNK]"].map(|token| AddedToken::from(token, true)).to_vec();
    let mut trainer = BpeTrainer::builder().vocab_size(TOKENS).special_tokens(special).show_progress(false).build();
    tokenizer.train(&mut trainer, learned.iter()).map_err(failed)?;
    tokenizer.with_padding(Some(PaddingParams::default()));
    tokenizer.save(folder.join("tokenizer.json"), false).map_err(failed)?;
    eprintln!("learned from {} names", learned.len());
    print!("{}", emoji_builder::manifest_block(folder, "tokenizer.json")?);
    Ok(())
}
