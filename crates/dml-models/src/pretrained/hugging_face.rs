//! The shape of a network from the `config.json` that it is published with.

use crate::text::{BertConfig, DistilBertConfig};
use crate::{Architecture, EncoderConfig, Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// The encoder that the `config.json` of transformers at `path` describes (BERT or DistilBERT), with the default head.
///
/// # Errors
/// When the file cannot be read, lacks a size, or describes a network that is not here.
pub fn encoder_config(path: &Path) -> Result<EncoderConfig> {
    let wrong = |problem: String| Error::Weights { path: path.display().to_string(), problem };
    let text = read(path)?;
    let config: Map<String, Value> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let said = |key: &str| config.get(key).and_then(Value::as_str);
    if let Some(kind) = said("position_embedding_type").filter(|&kind| kind != "absolute") {
        return Err(wrong(format!("position_embedding_type is {kind:?}: only absolute is supported")));
    }
    match said("model_type").unwrap_or("bert") {
        "bert" => {
            let keys = [
                "vocab_size",
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "max_position_embeddings",
                "type_vocab_size",
            ];
            // transformers' own defaults, where a file may leave them out.
            let bert: BertConfig = known(&config, &keys, &["layer_norm_eps", "hidden_act"]).map_err(wrong)?;
            Ok(EncoderConfig { architecture: Architecture::Bert, bert, ..EncoderConfig::default() })
        }
        "distilbert" => {
            let keys = ["vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings"];
            let distil_bert: DistilBertConfig = known(&config, &keys, &["activation"]).map_err(wrong)?;
            Ok(EncoderConfig { architecture: Architecture::DistilBert, distil_bert, ..EncoderConfig::default() })
        }
        other => Err(wrong(format!("model_type is {other:?}: only bert and distilbert are supported"))),
    }
}

/// A configuration from those keys of `all` that it has; what else is published is of no matter.
fn known<T: DeserializeOwned>(
    all: &Map<String, Value>,
    needed: &[&str],
    optional: &[&str],
) -> std::result::Result<T, String> {
    if let Some(missing) = needed.iter().find(|&&key| !all.contains_key(key)) {
        return Err(format!("it does not say {missing}: it is no config.json of such a network"));
    }
    let keys = needed.iter().chain(optional);
    let some = keys.filter_map(|&key| Some((key.to_owned(), all.get(key)?.clone()))).collect();
    serde_json::from_value(Value::Object(some)).map_err(|error| error.to_string())
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Weights { path: path.display().to_string(), problem: error.to_string() })
}
