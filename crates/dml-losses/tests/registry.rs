//! The registry as a whole: names, configurations, presets, and messages for what is wrong.

use candle_core::{Device, Tensor};
use dml_losses::{Context, LOSSES, LossConfig, MemoryConfig, build, build_with_memory, registry};
use serde_json::{Value, json};

fn context() -> Context {
    Context::new(4, 5)
}

#[test]
fn every_loss_is_reached_by_its_name_and_survives_json() {
    assert!(LOSSES.windows(2).all(|pair| pair[0].name < pair[1].name), "names in alphabetical order, none twice");
    for spec in LOSSES {
        assert!(!spec.summary.is_empty() && !spec.source.is_empty(), "{}", spec.name);
        let config = spec.config(None, &Value::Null).unwrap();
        assert_eq!(config.name(), spec.name);
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["name"], spec.name);
        assert_eq!(serde_json::from_value::<LossConfig>(json).unwrap(), config);
        let bare: LossConfig = serde_json::from_value(json!({"name": spec.name})).unwrap();
        assert_eq!(bare, config, "left-out parameters have their defaults");
        config.build(&context()).unwrap();
    }
}

#[test]
fn unknown_keys_and_values_out_of_range_are_refused_by_name() {
    for spec in LOSSES {
        let error = spec.config(None, &json!({"no_such_key": 1})).unwrap_err().to_string();
        assert!(error.contains(spec.name) && error.contains("no_such_key"), "{error}");
        let error = serde_json::from_value::<LossConfig>(json!({"name": spec.name, "no_such_key": 1})).unwrap_err();
        assert!(error.to_string().contains("no_such_key"), "{}: {error}", spec.name);
        let Value::Object(defaults) = (spec.default_params)() else { panic!("{}: no object", spec.name) };
        for key in defaults.iter().filter(|(_, value)| value.is_f64()).map(|(key, _)| key) {
            // Below any range; some keys may be any number.
            if let Err(error) = spec.config(None, &json!({key: -1e300})) {
                let error = error.to_string();
                assert!(error.contains(spec.name) && error.contains(key) && error.contains("want"), "{error}");
            }
            // A word is no number.
            let error = spec.config(None, &json!({key: "many"})).unwrap_err().to_string();
            assert!(error.contains(spec.name), "{error}");
        }
    }
}

#[test]
fn presets_are_whole_and_a_wrong_one_lists_them() {
    for spec in LOSSES {
        let Value::Object(defaults) = (spec.default_params)() else { panic!("{}: no object", spec.name) };
        for (name, params) in (spec.presets)() {
            let Value::Object(params) = params else { panic!("{}: {name} is no object", spec.name) };
            assert_eq!(params.keys().collect::<Vec<_>>(), defaults.keys().collect::<Vec<_>>(), "{}: {name}", spec.name);
            spec.config(Some(name), &Value::Null).unwrap().build(&context()).unwrap();
        }
        let error = spec.config(Some("nobody"), &Value::Null).unwrap_err().to_string();
        assert!(error.contains("nobody") && error.contains(spec.name), "{error}");
    }
    let spec = registry::find("multi_similarity").unwrap();
    let config = spec.config(Some("paper"), &json!({"beta": 10.0})).unwrap();
    let json = serde_json::to_value(config).unwrap();
    assert_eq!(
        (json["base"].as_f64(), json["beta"].as_f64(), json["epsilon"].as_f64()),
        (Some(1.0), Some(10.0), Some(0.1))
    );
}

#[test]
fn bad_input_is_an_error_that_names_the_thing_and_the_mend() {
    let message = |name: &str, params: Value| build(name, &params, &context()).err().unwrap().to_string();
    assert!(message("tripplet", json!({})).contains("use one of ada_face"));
    assert!(message("triplet", json!({"margn": 1})).contains("margn"));
    assert!(message("proxy_nca", json!({"softmax_scale": 0.0})).contains("above 0"));
    assert!(message("contrastive", json!({"metric": "cosin"})).contains("squared_euclidean"));
    let x = Tensor::zeros((3, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    for spec in LOSSES {
        let mut objective = build(spec.name, &Value::Null, &context()).unwrap();
        assert!(objective.loss(&x, &[0, 1]).is_err(), "{}: two labels for three rows", spec.name);
        let flat = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(objective.loss(&flat, &[0, 1, 2]).is_err(), "{}: embeddings of rank one", spec.name);
    }
    let mut proxies = build("proxy_anchor", &Value::Null, &context()).unwrap();
    assert!(proxies.loss(&x, &[0, 1, 9]).unwrap_err().to_string().contains("label 9 has no proxy"));
    let memory = build_with_memory("n_pairs", &Value::Null, &MemoryConfig::default(), &context());
    assert!(memory.err().unwrap().to_string().contains("references"));
}
