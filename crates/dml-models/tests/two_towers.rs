//! Networks of two towers: which embeds what, what their weights are called, and how each takes the weights of its own source.

use candle_core::{Device, Tensor};
use dml_models::pretrained::{self, Loading, Towers};
use dml_models::text::BertConfig;
use dml_models::{
    Architecture, Encoder, EncoderConfig, HeadConfig, Input, Mode, Network, Tokens, gradients, is_of_head,
};
use std::collections::{BTreeSet, HashMap};

fn bert() -> BertConfig {
    BertConfig {
        vocab_size: 20,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 16,
        max_position_embeddings: 12,
        ..BertConfig::default()
    }
}

fn head(dim: usize) -> HeadConfig {
    HeadConfig { dim, ..HeadConfig::default() }
}

fn text() -> EncoderConfig {
    EncoderConfig { architecture: Architecture::Bert, bert: bert(), head: head(6), ..EncoderConfig::default() }
}

fn both() -> EncoderConfig {
    EncoderConfig { head: head(6), text: Some(Box::new(text())), ..EncoderConfig::default() }
}

fn network(config: &EncoderConfig, seed: u64) -> Network {
    Network::new(config, [1, 16, 16], seed, &Device::Cpu).unwrap()
}

fn images() -> Input {
    let values: Vec<f32> = (0..4 * 256).map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0).collect();
    Tensor::from_vec(values, (4, 1, 16, 16), &Device::Cpu).unwrap().into()
}

fn texts() -> Input {
    let ids: Vec<u32> = (0..20).map(|i| i * 7 % 20).collect();
    let tensor = |values: Vec<u32>| Tensor::from_vec(values, (4, 5), &Device::Cpu).unwrap();
    Tokens { ids: tensor(ids), mask: tensor(vec![1; 20]), types: None }.into()
}

fn embedded(network: &Network, input: &Input) -> Vec<Vec<f32>> {
    network.embed(input, Mode::Eval).unwrap().to_vec2().unwrap()
}

#[test]
fn each_tower_is_what_it_would_be_alone() {
    let (both, folder) = (network(&both(), 3), tempfile::tempdir().unwrap());
    // The image tower is drawn first, and so as it would be alone.
    let images_alone = network(&EncoderConfig { text: None, ..self::both() }, 3);
    assert_eq!(embedded(&both, &images()), embedded(&images_alone, &images()));
    assert_ne!(embedded(&both, &images()), embedded(&both, &texts()));
    // That of the texts as one alone with its weights.
    let of_text: HashMap<String, Tensor> = both
        .weights()
        .named()
        .into_iter()
        .filter_map(|(name, var)| Some((name.strip_prefix("text.")?.to_owned(), var.as_tensor().clone())))
        .collect();
    let path = folder.path().join("text.safetensors");
    candle_core::safetensors::save(&of_text, &path).unwrap();
    let texts_alone = network(&text(), 9);
    assert_ne!(embedded(&both, &texts()), embedded(&texts_alone, &texts()));
    pretrained::load(&texts_alone, &path).unwrap();
    assert_eq!(embedded(&both, &texts()), embedded(&texts_alone, &texts()));
}

#[test]
fn a_file_may_be_for_one_tower() {
    let folder = tempfile::tempdir().unwrap();
    let save = |network: &Network, name: &str| {
        let named = network.weights().named().into_iter();
        let tensors: HashMap<String, Tensor> = named.map(|(n, v)| (n, v.as_tensor().clone())).collect();
        let path = folder.path().join(name);
        candle_core::safetensors::save(&tensors, &path).unwrap();
        path
    };
    let (first, fresh) = (network(&both(), 1), network(&both(), 2));
    let of_images = save(&network(&EncoderConfig { text: None, ..both() }, 1), "images.safetensors");
    // Another head, as of published weights.
    let of_texts = save(&network(&EncoderConfig { head: head(8), ..text() }, 5), "texts.safetensors");
    let only = |towers| Loading { towers, new_head: true, ..Loading::default() };
    let before = embedded(&fresh, &texts());
    let report = pretrained::load_with(&fresh, &of_images, only(Towers::Images)).unwrap();
    assert!(report.loaded.iter().all(|name| !name.starts_with("text.")) && report.new.is_empty());
    assert_eq!(embedded(&fresh, &images()), embedded(&first, &images()));
    assert_eq!(embedded(&fresh, &texts()), before);
    let report = pretrained::load_with(&fresh, &of_texts, only(Towers::Texts)).unwrap();
    assert_eq!(report.new, ["head.weight", "head.bias"]);
    assert_ne!(embedded(&fresh, &texts()), before);
    assert_eq!(embedded(&fresh, &images()), embedded(&first, &images()));
    // The whole is loaded whole, and a tower is not the whole.
    let whole = save(&fresh, "whole.safetensors");
    pretrained::load(&first, &whole).unwrap();
    assert_eq!(embedded(&first, &texts()), embedded(&fresh, &texts()));
    let message = pretrained::load(&first, &of_images).unwrap_err().to_string();
    assert!(message.contains("missing: text."), "{message}");
}

#[test]
fn both_towers_learn_unless_they_stand_still() {
    let names = |config: &EncoderConfig| -> BTreeSet<String> {
        let network = network(config, 1);
        let (_, store) = gradients(|| -> dml_models::Result<Tensor> {
            let rows = [images(), texts()].map(|input| network.embed(&input, Mode::Train));
            let [images, texts] = rows;
            Ok((images? * texts?)?.sum_all()?)
        })
        .unwrap();
        let trainable = network.weights().trainable().into_iter();
        trainable.filter(|(_, var)| store.get(var).is_some()).map(|(name, _)| name).collect()
    };
    let all = names(&both());
    assert!(all.iter().any(|name| name.starts_with("text.encoder.")) && all.contains("text.head.weight"));
    assert!(all.contains("head.weight") && is_of_head("text.head.weight") && !is_of_head("text.header.weight"));
    let still = EncoderConfig { freeze: vec!["text".to_owned()], ..both() };
    assert!(names(&still).iter().all(|name| !name.starts_with("text.")) && names(&still).contains("head.weight"));
    let mut part = both();
    part.text.as_mut().unwrap().freeze = vec!["encoder".to_owned()];
    let part = names(&part);
    assert!(part.contains("text.head.weight") && part.iter().all(|name| !name.starts_with("text.encoder.")));
}

#[test]
fn towers_that_do_not_fit_together_are_refused() {
    let refused = |config: &EncoderConfig| {
        let built = Network::new(config, [1, 16, 16], 1, &Device::Cpu);
        built.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let with = |text: EncoderConfig| EncoderConfig { text: Some(Box::new(text)), ..both() };
    assert!(refused(&with(EncoderConfig { head: head(7), ..text() })).contains("images become 6 numbers but texts 7"));
    assert!(refused(&with(EncoderConfig::default())).contains("embeds images"));
    let nested = EncoderConfig { text: Some(Box::new(text())), ..text() };
    assert!(refused(&with(nested)).contains("text.text is set"));
    assert!(refused(&EncoderConfig { text: Some(Box::new(text())), ..text() }).contains("embeds texts itself"));
    assert!(refused(&with(EncoderConfig { freeze: vec!["nothing".to_owned()], ..text() })).contains("text.nothing"));
}
