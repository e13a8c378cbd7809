//! Sentence encoders as sentence-transformers lays them out in a folder.
//!
//! `modules.json` names the parts: a transformer (`config.json`, `model.safetensors` or `pytorch_model.bin`, `tokenizer.json`), a
//! pooling (`1_Pooling/config.json`) and, for unit length, a normalisation.

use super::hugging_face::{encoder_config, read};
use super::{Loading, Names, Report, load_with};
use crate::{Architecture, EncoderConfig, Error, Network, Pooling, Result};
use candle_core::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A published sentence encoder.
pub struct SentenceTransformer {
    /// The network with its weights.
    pub network: Network,
    /// What it is, e.g. for a recipe.
    pub config: EncoderConfig,
    /// Where its tokenizer lies.
    pub tokenizer: PathBuf,
    /// Most tokens of a text.
    pub max_length: usize,
    /// What became of the tensors of its file.
    pub report: Report,
}

/// A line of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Lengths {
    max_seq_length: Option<usize>,
}

/// The sentence encoder in `folder`.
///
/// # Errors
/// When a file is missing or damaged, or a part has no counterpart here.
pub fn from_sentence_transformer(folder: &Path, device: &Device) -> Result<SentenceTransformer> {
    let list = folder.join("modules.json");
    let modules: Vec<Module> = json(&list)?;
    let mut found: Option<(PathBuf, EncoderConfig)> = None;
    let (mut pooling, mut normalize) = (Pooling::Mean, false);
    for (place, module) in modules.iter().enumerate() {
        // The whole name has changed over the years, its end has not.
        match (module.kind.rsplit('.').next().unwrap_or_default(), place) {
            ("Transformer" | "BERT" | "DistilBERT", 0) => {
                let root = folder.join(&module.path);
                let config = encoder_config(&root.join("config.json"))?;
                found = Some((root, config));
            }
            ("Pooling", 1) => pooling = pooling_of(&folder.join(&module.path).join("config.json"))?,
            ("Normalize", 2..) if !normalize => normalize = true,
            (other, _) => {
                let known = "a transformer, a pooling and maybe a normalisation, in this order";
                return Err(wrong(&list, format!("part {place} is {other:?}: only {known}, is supported")));
            }
        }
    }
    let Some((root, mut config)) = found else {
        return Err(wrong(&list, "it names no transformer: give the folder of a sentence encoder".to_owned()));
    };
    config.head.pooling = pooling;
    config.head.normalize = normalize;
    let weights = ["model.safetensors", "pytorch_model.bin"].map(|name| root.join(name));
    let Some(path) = weights.iter().find(|path| path.exists()) else {
        return Err(wrong(&root, "it has no model.safetensors and no pytorch_model.bin: bring one there".to_owned()));
    };
    // Drawn weights are all replaced: any seed will do.
    let network = Network::new(&config, [1, 1, 1], 0, device)?;
    let report = load_with(&network, path, Loading { names: Names::HuggingFace, new_head: false })?;
    let places = match config.architecture {
        Architecture::DistilBert => config.distil_bert.max_position_embeddings,
        _ => config.bert.max_position_embeddings,
    };
    let lengths = root.join("sentence_bert_config.json");
    let lengths: Lengths = if lengths.exists() { json(&lengths)? } else { Lengths::default() };
    let max_length = lengths.max_seq_length.map_or(places, |length| length.min(places));
    Ok(SentenceTransformer { network, config, tokenizer: root.join("tokenizer.json"), max_length, report })
}

/// Poolings by what they were called, as a flag each, and what they are called now.
const POOLINGS: [(&str, &str, Pooling); 6] = [
    ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
    ("pooling_mode_cls_token", "cls", Pooling::Cls),
    ("pooling_mode_max_tokens", "max", Pooling::Max),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("pooling_mode_weightedmean_tokens", "weightedmean", Pooling::WeightedMean),
    ("pooling_mode_lasttoken", "lasttoken", Pooling::Last),
];

fn pooling_of(path: &Path) -> Result<Pooling> {
    let config: Value = json(path)?;
    if let Some(mode) = config.get("pooling_mode").and_then(Value::as_str) {
        let found = POOLINGS.iter().find(|(_, name, _)| *name == mode);
        return found
            .map(|(_, _, pooling)| *pooling)
            .ok_or_else(|| wrong(path, format!("pooling_mode is {mode:?}: it has no counterpart here")));
    }
    let is_set = |(flag, _, _): &&(&str, &str, Pooling)| config.get(flag).and_then(Value::as_bool).unwrap_or(false);
    match POOLINGS.iter().filter(is_set).collect::<Vec<_>>()[..] {
        [(_, _, pooling)] => Ok(*pooling),
        [] => Err(wrong(path, "it names no pooling that has a counterpart here".to_owned())),
        ref several => {
            let flags: Vec<&str> = several.iter().map(|(flag, _, _)| *flag).collect();
            Err(wrong(path, format!("it joins several poolings ({}): only one is supported", flags.join(", "))))
        }
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).map_err(|error| wrong(path, error.to_string()))
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::Weights { path: path.display().to_string(), problem }
}
