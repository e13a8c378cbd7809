//! Weights from outside: files of PyTorch and safetensors, their names, folders of sentence-transformers, and what is refused.

use candle_core::{DType, Device, Tensor};
use dml_models::pretrained::{self, Loading, Misshapen, Names};
use dml_models::text::BertConfig;
use dml_models::{
    Architecture, Encoder, EncoderConfig, Error, HeadConfig, Input, Mode, Network, Pooling, Tokens, Weights,
};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/torch").join(name)
}

/// A small text encoder.
fn config() -> EncoderConfig {
    let bert = BertConfig {
        vocab_size: 11,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 16,
        max_position_embeddings: 6,
        ..BertConfig::default()
    };
    EncoderConfig { architecture: Architecture::Bert, bert, ..EncoderConfig::default() }
}

fn network(config: &EncoderConfig, seed: u64) -> Network {
    Network::new(config, [1, 1, 1], seed, &Device::Cpu).unwrap()
}

fn tensors(weights: &Weights) -> BTreeMap<String, Tensor> {
    weights.named().into_iter().map(|(name, var)| (name, var.as_tensor().copy().unwrap())).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    let map: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    candle_core::safetensors::save(&map, path).unwrap();
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn published_names_become_ours_and_classifiers_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (published, ours) = (network(&config(), 1), network(&config(), 2));
    let mut file = BTreeMap::new();
    for (name, tensor) in tensors(published.weights()) {
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        file.insert(format!("module.bert.{old}"), tensor.to_dtype(DType::F64).unwrap());
    }
    file.insert("bert.pooler.dense.weight".to_owned(), zeros(&[8, 8]));
    file.insert("cls.predictions.bias".to_owned(), zeros(&[11]));
    file.insert("bert.embeddings.position_ids".to_owned(), zeros(&[1, 6]));
    write(&path, &file);
    let report = pretrained::load(&ours, &path).unwrap();
    assert_eq!(report.dropped, ["bert.embeddings.position_ids", "bert.pooler.dense.weight", "cls.predictions.bias"]);
    assert_eq!(report.loaded.len(), published.weights().named().len());
    assert!(report.fits() && report.new.is_empty(), "{report}");
    for (name, tensor) in tensors(published.weights()) {
        assert_eq!(values(&tensors(ours.weights())[&name]), values(&tensor), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_named_in_full_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let ours = network(&config(), 2);
    let before = tensors(ours.weights());
    let mut file = tensors(network(&config(), 1).weights());
    let (word, bias) = ("embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.bias");
    file.remove(bias);
    file.insert(word.to_owned(), zeros(&[12, 8]));
    file.insert("encoder.layer.1.output.dense.bias".to_owned(), zeros(&[8]));
    // A name that comes twice.
    file.insert("bert.embeddings.LayerNorm.bias".to_owned(), zeros(&[8]));
    write(&path, &file);
    let error = pretrained::load(&ours, &path).unwrap_err();
    let message = error.to_string();
    let Error::Mismatch { report, .. } = error else { panic!("{message}") };
    assert_eq!(report.missing, [bias]);
    assert_eq!(report.unexpected, ["embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.bias"]);
    let misshapen = Misshapen { name: word.to_owned(), file: vec![12, 8], network: vec![11, 8] };
    assert_eq!(report.misshapen, [misshapen]);
    for part in [bias, word, "[12, 8]", "[11, 8]", "encoder.layer.1", "choose the network"] {
        assert!(message.contains(part), "{message}");
    }
    for (name, tensor) in tensors(ours.weights()) {
        assert_eq!(values(&tensor), values(&before[&name]), "{name}");
    }
}

#[test]
fn a_head_may_be_new_if_the_caller_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let with_head = EncoderConfig { head: HeadConfig { dim: 3, ..HeadConfig::default() }, ..config() };
    let ours = network(&with_head, 2);
    let drawn = values(&tensors(ours.weights())["head.weight"]);
    write(&path, &tensors(network(&config(), 1).weights()));
    let message = pretrained::load(&ours, &path).unwrap_err().to_string();
    assert!(message.contains("head.weight") && message.contains("allow a new one"), "{message}");
    let new_head = Loading { new_head: true, ..Loading::default() };
    let report = pretrained::load_with(&ours, &path, new_head).unwrap();
    assert_eq!(report.new, ["head.weight", "head.bias"]);
    assert_eq!(values(&tensors(ours.weights())["head.weight"]), drawn);

    // A classifier of another shape gives way, and so does one of the same shape if it is said to be one.
    for (classes, names) in [(1000, Names::Any), (3, Names::Timm)] {
        let mut file = tensors(network(&config(), 1).weights());
        file.insert("head.weight".to_owned(), zeros(&[classes, 8]));
        file.insert("head.bias".to_owned(), zeros(&[classes]));
        write(&path, &file);
        let report =
            pretrained::load_with(&ours, &path, Loading { names, new_head: true, ..Loading::default() }).unwrap();
        assert_eq!((report.dropped.len(), report.new.len()), (2, 2), "{names:?}");
        assert_eq!(values(&tensors(ours.weights())["head.weight"]), drawn);
    }
    // A run's own file has its head.
    write(&path, &tensors(network(&with_head, 1).weights()));
    assert!(pretrained::load(&ours, &path).unwrap().new.is_empty());
    assert_ne!(values(&tensors(ours.weights())["head.weight"]), drawn);
}

#[test]
fn both_forms_of_torch_save_are_read() {
    let told: serde_json::Value = serde_json::from_str(&fs::read_to_string(golden("values.json")).unwrap()).unwrap();
    for name in ["archive.pth", "old.pth"] {
        let found = pretrained::tensors(&golden(name)).unwrap();
        for (tensor, told) in told["tensors"].as_object().unwrap() {
            let found = &found[&format!("module.{tensor}")];
            let shape: Vec<usize> = serde_json::from_value(told["shape"].clone()).unwrap();
            let numbers: Vec<f32> = serde_json::from_value(told["values"].clone()).unwrap();
            assert_eq!((found.dims(), values(found)), (shape.as_slice(), numbers), "{name}: {tensor}");
        }
        assert_eq!(found.len(), told["tensors"].as_object().unwrap().len());
    }
}

#[test]
fn damaged_files_of_torch_are_errors_and_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pth");
    for name in ["archive.pth", "old.pth"] {
        let whole = fs::read(golden(name)).unwrap();
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            pretrained::tensors(&path)
        };
        for end in 0..whole.len() {
            assert!(check(&whole[..end]).is_err(), "{name}, {end} bytes");
        }
        for place in 0..whole.len() {
            for value in [whole[place] ^ 1, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = value;
                let _ = check(&bytes);
            }
        }
    }
}

#[test]
fn other_files_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8], part: &str| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = pretrained::tensors(&path).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(name), "{message}");
    };
    refused("weights.onnx", b"", ".safetensors");
    refused("weights.pth", b"nothing of the kind", "torch.save");
    refused("weights.safetensors", b"no", "weights.safetensors");
    assert!(pretrained::tensors(&folder.path().join("none.pth")).is_err());
}

/// Writes a sentence encoder as sentence-transformers would, with weights of `seed`.
fn publish(folder: &Path, modules: &str, pooling: &str, seed: u64) -> Network {
    let bert = serde_json::to_value(config().bert).unwrap();
    let mut all = bert.as_object().unwrap().clone();
    for (key, value) in [("model_type", "bert"), ("position_embedding_type", "absolute"), ("torch_dtype", "float32")] {
        all.insert(key.to_owned(), value.into());
    }
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("config.json"), serde_json::to_string(&all).unwrap()).unwrap();
    fs::write(folder.join("modules.json"), modules).unwrap();
    fs::write(folder.join("1_Pooling/config.json"), pooling).unwrap();
    fs::write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 4, "do_lower_case": false}"#).unwrap();
    let published = network(&config(), seed);
    write(&folder.join("model.safetensors"), &tensors(published.weights()));
    published
}

const TRANSFORMER: &str = r#"{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}"#;
const POOLING: &str = r#"{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}"#;
const UNIT: &str =
    r#"{"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}"#;

#[test]
fn folders_of_sentence_transformers_say_pooling_and_length() {
    let folder = tempfile::tempdir().unwrap();
    let open = || pretrained::from_sentence_transformer(folder.path(), &Device::Cpu);
    let flags = r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    let published = publish(folder.path(), &format!("[{TRANSFORMER}, {POOLING}, {UNIT}]"), flags, 1);
    let found = open().unwrap();
    assert_eq!((found.config.head.pooling, found.config.head.normalize), (Pooling::Cls, true));
    assert_eq!((found.config.bert.clone(), found.max_length), (config().bert, 4));
    let ids = Tensor::new(&[[1u32, 4, 2], [3, 5, 0]], &Device::Cpu).unwrap();
    let mask = Tensor::new(&[[1u32, 1, 1], [1, 1, 0]], &Device::Cpu).unwrap();
    let input = Input::Tokens(Tokens { ids, mask, types: None });
    let lengths = found.network.embed(&input, Mode::Eval).unwrap().sqr().unwrap().sum(1).unwrap();
    assert!(values(&lengths).iter().all(|length| (length - 1.0).abs() < 1e-5));
    assert_eq!(published.dim(), found.network.dim());

    // As newer versions write it, without a normalisation.
    publish(folder.path(), &format!("[{TRANSFORMER}, {POOLING}]"), r#"{"pooling_mode": "weightedmean"}"#, 1);
    let found = open().unwrap();
    assert_eq!((found.config.head.pooling, found.config.head.normalize), (Pooling::WeightedMean, false));

    let refused = |modules: &str, pooling: &str, part: &str| {
        publish(folder.path(), modules, pooling, 1);
        let message = open().err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    let both = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#;
    let modules = format!("[{TRANSFORMER}, {POOLING}]");
    refused(&modules, both, "pooling_mode_cls_token");
    refused(&modules, "{}", "names no pooling");
    refused(&modules, r#"{"pooling_mode": "middle"}"#, "middle");
    refused(&modules, "{", "1_Pooling");
    refused("[]", flags, "no transformer");
    let dense = r#"{"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}"#;
    refused(&format!("[{TRANSFORMER}, {POOLING}, {dense}]"), flags, "Dense");
}

#[test]
fn a_length_that_is_not_said_is_that_of_the_tokenizer_or_the_network() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), &format!("[{TRANSFORMER}, {POOLING}]"), r#"{"pooling_mode": "cls"}"#, 1);
    let length = || pretrained::SentenceFolder::read(folder.path()).unwrap().max_length;
    let [said, limits] = ["sentence_bert_config.json", "tokenizer_config.json"].map(|file| folder.path().join(file));
    // The network has six places.
    for (text, limit, wanted) in [
        (r#"{"max_seq_length": 4}"#, r#"{"model_max_length": 3}"#, 4),
        (r#"{"max_seq_length": 7}"#, "{}", 6),
        (r#"{"max_seq_length": null, "do_lower_case": false}"#, r#"{"model_max_length": 3}"#, 3),
        ("{}", r#"{"model_max_length": 512}"#, 6),
        ("{}", r#"{"model_max_length": 1000000000000000019884624838656}"#, 6),
        ("{}", r#"{"model_max_length": null}"#, 6),
    ] {
        fs::write(&said, text).unwrap();
        fs::write(&limits, limit).unwrap();
        assert_eq!(length(), wanted, "{text} {limit}");
    }
    fs::write(&limits, r#"{"model_max_length": 5}"#).unwrap();
    fs::remove_file(&said).unwrap();
    assert_eq!(length(), 5);
    fs::remove_file(&limits).unwrap();
    assert_eq!(length(), 6);
}

#[test]
fn small_letters_are_the_tokenizers_matter_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), &format!("[{TRANSFORMER}, {POOLING}]"), r#"{"pooling_mode": "cls"}"#, 1);
    fs::write(folder.path().join("sentence_bert_config.json"), r#"{"do_lower_case": true}"#).unwrap();
    let read = || pretrained::SentenceFolder::read(folder.path());
    assert!(read().unwrap_err().to_string().contains("tokenizer.json"), "there is none");
    let lower = r#"{"type": "Lowercase"}"#;
    for (normalizer, has) in [
        ("null", false),
        (r#"{"type": "NFC"}"#, false),
        (r#"{"type": "BertNormalizer", "lowercase": false}"#, false),
        (r#"{"type": "BertNormalizer", "lowercase": true}"#, true),
        (lower, true),
        (format!(r#"{{"type": "Sequence", "normalizers": [{{"type": "NFC"}}, {lower}]}}"#).as_str(), true),
    ] {
        fs::write(folder.path().join("tokenizer.json"), format!(r#"{{"normalizer": {normalizer}}}"#)).unwrap();
        match read() {
            Ok(_) => assert!(has, "{normalizer}"),
            Err(error) => {
                let message = error.to_string();
                assert!(!has, "{message}");
                assert!(message.contains("do_lower_case is true but tokenizer.json keeps capitals"), "{message}");
            }
        }
    }
}

/// As in the file that pretrainedmodels first had.
#[test]
fn norms_of_bn_inception_may_be_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bn_inception.safetensors");
    let config = EncoderConfig { architecture: Architecture::BnInception, ..EncoderConfig::default() };
    let [published, ours] = [1, 2].map(|seed| Network::new(&config, [3, 64, 64], seed, &Device::Cpu).unwrap());
    let mut file = tensors(published.weights());
    let mut rows = 0;
    for (name, tensor) in &mut file {
        if name.contains("_bn.") {
            let channels = tensor.dims()[0];
            *tensor = Tensor::arange(0f32, channels as f32, &Device::Cpu).unwrap().reshape((1, channels)).unwrap();
            rows += 1;
        }
    }
    file.insert("last_linear.bias".to_owned(), zeros(&[9]));
    write(&path, &file);
    let report = pretrained::load(&ours, &path).unwrap();
    assert_eq!((report.dropped, report.loaded.len()), (vec!["last_linear.bias".to_owned()], file.len() - 1));
    assert!(rows > 200, "{rows}");
    for (name, tensor) in tensors(ours.weights()) {
        assert_eq!(values(&tensor), values(&file[&name]), "{name}");
    }
}

#[test]
fn configurations_of_other_networks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let refused = |text: &str, part: &str| {
        fs::write(&path, text).unwrap();
        let message = pretrained::encoder_config(&path).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(r#"{"model_type": "mpnet"}"#, "mpnet");
    refused(r#"{"model_type": "bert", "vocab_size": 3}"#, "hidden_size");
    refused(r#"{"model_type": "bert", "position_embedding_type": "relative_key"}"#, "relative_key");
    fs::write(
        &path,
        r#"{"model_type": "distilbert", "vocab_size": 9, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16,
            "max_position_embeddings": 6, "activation": "gelu", "seq_classif_dropout": 0.2, "pad_token_id": 0}"#,
    )
    .unwrap();
    let config = pretrained::encoder_config(&path).unwrap();
    assert_eq!((config.architecture, config.distil_bert.dim), (Architecture::DistilBert, 8));
}

#[test]
fn texts_that_no_table_has_rows_for_are_refused() {
    let encoder = network(&config(), 1);
    let refused = |ids: &Tensor, mask: &Tensor, part: &str| {
        let input = Input::Tokens(Tokens { ids: ids.clone(), mask: mask.clone(), types: None });
        let message = encoder.embed(&input, Mode::Eval).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    let ids = Tensor::new(&[[1u32, 4, 2], [3, 11, 0]], &Device::Cpu).unwrap();
    let mask = ids.ones_like().unwrap();
    refused(&ids, &mask, "token 1 of text 1 has id 11, but there are 11");
    let long = Tensor::zeros((1, 7), DType::U32, &Device::Cpu).unwrap();
    refused(&long, &long, "7 tokens, but it has places for 6");
    let wrong = Tensor::zeros((1, 3), DType::U32, &Device::Cpu).unwrap();
    refused(&wrong, &mask, "mask");
    refused(&wrong.to_dtype(DType::I64).unwrap(), &wrong, "u32");
    refused(&Tensor::zeros((0, 3), DType::U32, &Device::Cpu).unwrap(), &mask, "at least one");
    let message = encoder.embed(&Input::Images(zeros(&[1, 3, 4, 4])), Mode::Eval).unwrap_err().to_string();
    assert!(message.contains("give tokens"), "{message}");
}
