//! A published sentence encoder with its real weights, on the benchmark that it is published with.
//!
//! Needs the variables `DML_MINILM` (the folder of all-MiniLM-L6-v2, as sentence-transformers lays it out) and `DML_DATA_DIR` (with
//! the set `stsb`); skips without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::Manifest;
use dml_data::sources::stsb;
use dml_data::text::{TextTokenizer, TokenBudget, TokenizerOptions};
use dml_models::pretrained::from_sentence_transformer;
use dml_models::{Encoder, Input, Mode, Tokens, without_gradients};
use std::env;
use std::path::PathBuf;

/// The folder that `variable` names; says if it names none.
fn folder(variable: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {variable} is not set");
    }
    folder
}

#[test]
fn a_published_sentence_encoder_has_its_published_correlation() {
    let (Some(model), Some(data)) = (folder("DML_MINILM"), folder("DML_DATA_DIR")) else { return };
    let manifest = Manifest::find("stsb").unwrap();
    if matches!(manifest.verify(&data), Err(dml_data::Error::Missing { .. })) {
        println!("skipped: {}", manifest.fetch_command());
        return;
    }
    let encoder = from_sentence_transformer(&model, &Device::Cpu).unwrap();
    // What the file has beside the encoder.
    let mut dropped = encoder.report.dropped.clone();
    dropped.sort();
    assert_eq!(dropped, ["embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"]);
    assert!(encoder.config.head.normalize);
    let options = TokenizerOptions { max_length: encoder.max_length, ..TokenizerOptions::default() };
    let tokenizer = TextTokenizer::open(&encoder.tokenizer, &options).unwrap();

    let pairs = stsb::open(&data).unwrap().part("test").unwrap();
    let texts: Vec<&str> = (0..pairs.len()).flat_map(|index| pairs.pair(index)).collect();
    let mut embeddings = vec![vec![]; texts.len()];
    for (indices, tokens) in tokenizer.encode_within(&texts, TokenBudget::default()).unwrap() {
        let tensors = tokens.to_tensors(&Device::Cpu).unwrap();
        let tokens = Tokens { ids: tensors.ids, mask: tensors.mask, types: Some(tensors.type_ids) };
        let rows = without_gradients(|| encoder.network.embed(&Input::Tokens(tokens), Mode::Eval)).unwrap();
        let rows = rows.to_vec2::<f32>().unwrap();
        indices.into_iter().zip(rows).for_each(|(index, row)| embeddings[index] = row);
    }
    let dim = embeddings[0].len();
    let [left, right] =
        [0, 1].map(|side| embeddings.iter().skip(side).step_by(2).flatten().copied().collect::<Vec<f32>>());
    let [left, right] = [&left, &right].map(|values| Matrix::new(values, pairs.len(), dim).unwrap());
    let correlation = 100.0 * dml_eval::correlation(Metric::Cosine, left, right, pairs.scores()).unwrap().spearman;
    println!("STS-B test, {} pairs: Spearman {correlation:.4}", pairs.len());
    assert_eq!(format!("{correlation:.2}"), "82.03");
}
