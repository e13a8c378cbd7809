//! Sentence encoders as sentence-transformers lays them out in a folder.
//!
//! `modules.json` names the parts: a transformer (`config.json`, `model.safetensors` or `pytorch_model.bin`, `tokenizer.json`), a
//! pooling (`1_Pooling/config.json`) and, for unit length, a normalisation. How long a text may be is said by `sentence_bert_config.json`,
//! or, as upstream has it, by what `tokenizer_config.json` and the network allow.

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

/// What the folder of a sentence encoder says.
#[derive(Clone, Debug)]
pub struct SentenceFolder {
    /// The encoder; `weights` is left out.
    pub config: EncoderConfig,
    /// The file of its weights.
    pub weights: PathBuf,
    /// Where its tokenizer lies.
    pub tokenizer: PathBuf,
    /// Most tokens of a text.
    pub max_length: usize,
}

/// A line of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// How texts are taken.
#[derive(Default, Deserialize)]
struct Taking {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

/// The sentence encoder in `folder`.
///
/// # Errors
/// When a file is missing or damaged, or a part has no counterpart here.
pub fn from_sentence_transformer(folder: &Path, device: &Device) -> Result<SentenceTransformer> {
    let SentenceFolder { config, weights, tokenizer, max_length } = SentenceFolder::read(folder)?;
    // Drawn weights are all replaced: any seed will do.
    let network = Network::new(&config, [1, 1, 1], 0, device)?;
    let report = load_with(&network, &weights, Loading { names: Names::HuggingFace, ..Loading::default() })?;
    Ok(SentenceTransformer { network, config, tokenizer, max_length, report })
}

/// The list of its parts.
const MODULES: &str = "modules.json";
/// Files of weights, the better one first.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// What is beside the transformer.
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TAKING: &str = "sentence_bert_config.json";
const LIMITS: &str = "tokenizer_config.json";

impl SentenceFolder {
    /// Reads what `folder` says, and looks for its weights without reading them.
    ///
    /// # Errors
    /// When a file is missing or damaged, or a part has no counterpart here.
    pub fn read(folder: &Path) -> Result<Self> {
        let list = folder.join(MODULES);
        let modules: Vec<Module> = json(&list)?;
        let mut found: Option<(PathBuf, EncoderConfig)> = None;
        let (mut pooling, mut normalize) = (Pooling::Mean, false);
        for (place, module) in modules.iter().enumerate() {
            // The whole name has changed over the years, its end has not.
            match (module.kind.rsplit('.').next().unwrap_or_default(), place) {
                ("Transformer" | "BERT" | "DistilBERT", 0) => {
                    let root = folder.join(&module.path);
                    let config = encoder_config(&root.join(CONFIG))?;
                    found = Some((root, config));
                }
                ("Pooling", 1) => pooling = pooling_of(&folder.join(&module.path).join(CONFIG))?,
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
        let Some(weights) = WEIGHTS.map(|name| root.join(name)).into_iter().find(|path| path.exists()) else {
            let [one, other] = WEIGHTS;
            return Err(wrong(&root, format!("it has no {one} and no {other}: bring one there")));
        };
        let places = match config.architecture {
            Architecture::DistilBert => config.distil_bert.max_position_embeddings,
            _ => config.bert.max_position_embeddings,
        };
        let (said, tokenizer) = (root.join(TAKING), root.join(TOKENIZER));
        let taking: Taking = if said.exists() { json(&said)? } else { Taking::default() };
        // Upstream gives the tokenizer what it lacks; here it is taken as it is.
        if taking.do_lower_case == Some(true) && !has_small_letters(&json::<Value>(&tokenizer)?["normalizer"]) {
            let mend = format!("{TOKENIZER} keeps capitals: put {{\"type\": \"Lowercase\"}} before its normalizer");
            return Err(wrong(&said, format!("do_lower_case is true but {mend}")));
        }
        let max_length = match taking.max_seq_length {
            Some(length) => length.min(places),
            None => longest(&root.join(LIMITS), places)?,
        };
        Ok(Self { config, weights, tokenizer, max_length })
    }
}

/// Fetches the files of the sentence encoder `repo` at `revision` from `hub`, if its cache has them not; returns their folder.
///
/// # Errors
/// As [`Hub::fetch`](super::Hub::fetch), and when `modules.json` is damaged.
#[cfg(feature = "hub")]
pub fn sentence_transformer_from_hub(hub: &super::Hub, repo: &str, revision: &str) -> Result<PathBuf> {
    let fetch = |file: &str, revision: &str| hub.fetch(super::HubFile { repo, revision, file, sha256: None });
    let list = fetch(MODULES, revision)?;
    // All of one commit, should the branch move meanwhile.
    let commit = list.commit.as_str();
    let modules: Vec<Module> = json(&list.path)?;
    let below = |module: &Module, file: &str| match module.path.as_str() {
        "" => file.to_owned(),
        path => format!("{path}/{file}"),
    };
    let Some((transformer, others)) = modules.split_first() else {
        return Err(wrong(&list.path, "it names no transformer: give the repository of a sentence encoder".to_owned()));
    };
    for file in [CONFIG, TOKENIZER] {
        fetch(&below(transformer, file), commit)?;
    }
    for module in others.iter().filter(|module| module.kind.ends_with("Pooling")) {
        fetch(&below(module, CONFIG), commit)?;
    }
    for file in [TAKING, LIMITS] {
        match fetch(&below(transformer, file), commit) {
            // A repository may do without it; a hub that does not answer is another matter.
            Err(Error::NotToBeHad { absent, .. }) if absent || hub.offline => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    let [one, other] = WEIGHTS.map(|file| below(transformer, file));
    fetch(&one, commit).or_else(|error| fetch(&other, commit).map_err(|_| error))?;
    Ok(list.path.parent().map(Path::to_owned).unwrap_or_default())
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

/// Most tokens of a text, where only the tokenizer's file at `path` may say, of a network with so many `places`.
fn longest(path: &Path, places: usize) -> Result<usize> {
    if !path.exists() {
        return Ok(places);
    }
    let config: Value = json(path)?;
    // Often it is 1e30, which means that it says nothing.
    let said = config.get("model_max_length").and_then(Value::as_f64).filter(|&length| length >= 1.0);
    Ok(said.map_or(places, |length| length.min(places as f64) as usize))
}

/// Whether a normaliser of tokenizers makes small letters of capitals.
fn has_small_letters(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("Lowercase") => true,
        Some("BertNormalizer") => normalizer["lowercase"] == true,
        Some("Sequence") => normalizer["normalizers"].as_array().is_some_and(|all| all.iter().any(has_small_letters)),
        _ => false,
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).map_err(|error| wrong(path, error.to_string()))
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::Weights { path: path.display().to_string(), problem }
}
