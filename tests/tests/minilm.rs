//! A published sentence encoder with its real weights, on the benchmark that it is published with.
//!
//! Needs the variables `DML_MINILM` (the folder of all-MiniLM-L6-v2, as sentence-transformers lays it out) and `DML_DATA_DIR` (with
//! the set `stsb`); skips without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::Manifest;
use dml_data::sources::stsb;
use dml_data::text::{TextTokenizer, TokenizerOptions};
use dml_models::Encoder;
use dml_models::pretrained::from_sentence_transformer;
use dml_train::embedding::embed_texts;
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
    let n = pairs.len();
    // All first texts, then all second ones.
    let texts: Vec<&str> = (0..2 * n).map(|i| pairs.pair(i % n)[i / n]).collect();
    let embeddings = embed_texts(&encoder.network, &tokenizer, &texts, &Device::Cpu).unwrap();
    let (left, right) = embeddings.split_at(embeddings.len() / 2);
    let [left, right] = [left, right].map(|values| Matrix::new(values, n, encoder.network.dim()).unwrap());
    let correlation = 100.0 * dml_eval::correlation(Metric::Cosine, left, right, pairs.scores()).unwrap().spearman;
    println!("STS-B test, {} pairs: Spearman {correlation:.4}", pairs.len());
    assert_eq!(format!("{correlation:.2}"), "82.03");
}
