//! Text encoders give the embeddings and gradients of transformers' and sentence-transformers', under every pooling.

mod formula;

use candle_core::{Device, Tensor};
use dml_models::text::{BertConfig, DistilBertConfig};
use dml_models::{Architecture, Encoder, EncoderConfig, HeadConfig, Input, Mode, Network, Pooling, Tokens};
use formula::{Allowed, Case, Run};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// PyTorch itself is off by 1e-6 in float32.
const ALLOWED: Allowed = Allowed { embedding: 1e-5, gradient: 2e-5 };

fn head(run: &str) -> HeadConfig {
    let pooling = match run {
        // What these networks are pooled by if nobody says.
        "mean" => Pooling::Default,
        "mean_unit" => Pooling::Mean,
        "cls" => Pooling::Cls,
        "max" => Pooling::Max,
        "mean_sqrt_len_tokens" => Pooling::MeanSqrtLen,
        "weightedmean" => Pooling::WeightedMean,
        "lasttoken" => Pooling::Last,
        other => panic!("run {other}"),
    };
    HeadConfig { pooling, normalize: run == "mean_unit", ..HeadConfig::default() }
}

/// Those entries of `all` that `T` has.
fn config<T: Default + serde::Serialize + DeserializeOwned>(all: &Value) -> T {
    let mut config = serde_json::to_value(T::default()).unwrap();
    for (key, value) in config.as_object_mut().unwrap() {
        *value = all[key].clone();
    }
    serde_json::from_value(config).unwrap()
}

fn tokens(run: &Run<'_>) -> Tokens {
    let ids: Vec<Vec<u32>> = serde_json::from_value(run.told()["ids"].clone()).unwrap();
    let lengths: Vec<u32> = serde_json::from_value(run.told()["lengths"].clone()).unwrap();
    let t = ids[0].len() as u32;
    let mask: Vec<Vec<u32>> =
        lengths.iter().map(|&length| (0..t).map(|place| u32::from(place < length)).collect()).collect();
    let tensor = |rows| Tensor::new::<Vec<Vec<u32>>>(rows, &Device::Cpu).unwrap();
    Tokens { ids: tensor(ids), mask: tensor(mask), types: None }
}

fn check(name: &str, described: impl Fn(&Value) -> EncoderConfig) {
    let case = Case::load(name);
    for (title, run) in case.runs() {
        let config = EncoderConfig { head: head(title), ..described(case.config()) };
        let network = Network::new(&config, [1, 1, 1], 0, &Device::Cpu).unwrap();
        let named = network.weights().named();
        let ours = |name: &str| name.to_owned();
        case.fill(&named, ours);
        let tokens = tokens(&run);
        let embed = |tokens: &Tokens| network.embed(&Input::Tokens(tokens.clone()), Mode::Eval).unwrap();
        run.check(&format!("{name}/{title}"), &embed(&tokens), &named, ours, None, ALLOWED);
        // Segments of 0 are none.
        let zeros = Tokens { types: Some(tokens.ids.zeros_like().unwrap()), ..tokens.clone() };
        run.check_embedding(&format!("{name}/{title} with types"), &embed(&zeros), ALLOWED.embedding);
    }
}

#[test]
fn bert_is_that_of_transformers() {
    check("bert", |all| EncoderConfig {
        architecture: Architecture::Bert,
        bert: config::<BertConfig>(all),
        ..EncoderConfig::default()
    });
}

#[test]
fn distil_bert_is_that_of_transformers() {
    check("distil_bert", |all| EncoderConfig {
        architecture: Architecture::DistilBert,
        distil_bert: config::<DistilBertConfig>(all),
        ..EncoderConfig::default()
    });
}
