//! A published sentence encoder with its real weights, on the benchmark that it is published with.
//!
//! Needs the variables `DML_MINILM` (the folder of all-MiniLM-L6-v2, as sentence-transformers lays it out) and `DML_DATA_DIR` (with
//! the set `stsb`); skips without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

use candle_core::Device;
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

/// Spearman's correlation: Pearson's of the ranks, where equal values share the mean of theirs.
fn spearman(a: &[f32], b: &[f32]) -> f64 {
    let [a, b] = [a, b].map(ranks);
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt()
}

fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = start as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
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
    // Embeddings have unit length.
    let cosines: Vec<f32> =
        embeddings.chunks_exact(2).map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum()).collect();
    let correlation = 100.0 * spearman(&cosines, pairs.scores());
    println!("STS-B test, {} pairs: Spearman {correlation:.4}", pairs.len());
    assert_eq!(format!("{correlation:.2}"), "82.03");
}
