//! Regularisers against pytorch-metric-learning's, and around a loss.

mod cases;

use candle_core::{DType, Device, Tensor, Var};
use cases::{embeddings, goldens};
use dml_losses::regularizer::RegularizerKind;
use dml_losses::wrappers::Regularized;
use dml_losses::{Context, Objective, REGULARIZERS, RegularizerConfig, build};
use dml_testkit::{Tolerance, assert_close, check_gradient};
use serde_json::{Value, json};

fn kind(name: &str, params: &Value) -> RegularizerKind {
    RegularizerConfig::new(name, params).unwrap().kind
}

#[test]
fn every_regularizer_equals_its_reference() {
    let cases = goldens("regularizers");
    for case in &cases {
        let kind = kind(case.description["regularizer"].as_str().unwrap(), case.params());
        for (dtype, near) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
            let rows = Var::from_tensor(&case.tensor("rows").unwrap().to_dtype(dtype).unwrap()).unwrap();
            let value = kind.value(&rows).unwrap();
            let gradients = value.backward().unwrap();
            let want = case.tensor("value").unwrap();
            assert_close(&case.name, &value.reshape(want.shape()).unwrap(), want, Tolerance::of_largest(near));
            let gradient = gradients.get(&rows).unwrap();
            assert_close(&case.name, gradient, case.tensor("gradient").unwrap(), Tolerance::of_largest(near));
        }
    }
    for spec in REGULARIZERS {
        assert!(cases.iter().any(|case| case.description["regularizer"] == spec.name), "no golden of {}", spec.name);
    }
}

#[test]
fn values_are_finite_where_slopes_are_not() {
    let rows = [
        ("zeros", Tensor::zeros((6, 4), DType::F64, &Device::Cpu).unwrap()),
        ("equal", Tensor::ones((6, 4), DType::F64, &Device::Cpu).unwrap()),
        ("one", Tensor::ones((2, 4), DType::F64, &Device::Cpu).unwrap()),
        ("none", Tensor::zeros((0, 4), DType::F64, &Device::Cpu).unwrap()),
    ];
    for (spec, (what, rows)) in REGULARIZERS.iter().flat_map(|spec| rows.iter().map(move |rows| (spec, rows))) {
        let params = if spec.name == "sparse_centers" { json!({"centers_per_class": 2}) } else { Value::Null };
        let rows = Var::from_tensor(rows).unwrap();
        let value = kind(spec.name, &params).value(&rows).unwrap();
        let gradients = value.backward().unwrap();
        let gradient: Vec<f64> = gradients.get(&rows).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(value.to_scalar::<f64>().unwrap().is_finite(), "{} of {what}", spec.name);
        assert!(gradient.iter().all(|g| g.is_finite()), "{} of {what}: {gradient:?}", spec.name);
    }
    for (p, power) in [(1.0, 1.0), (1.5, 0.5), (2.0, 1.0), (3.0, 2.0)] {
        let rows = Var::from_tensor(&rows[0].1).unwrap();
        let value = kind("lp", &json!({"p": p, "power": power})).value(&rows).unwrap();
        let gradients = value.backward().unwrap();
        let gradient: Vec<f64> = gradients.get(&rows).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(gradient.iter().all(|&g| g == 0.0), "lp {p} {power}: {gradient:?}");
    }
}

#[test]
fn a_regularizer_is_added_to_a_loss() {
    let labels = [0, 1, 0, 2, 1, 2];
    let context = Context { dtype: DType::F64, ..Context::new(5, 3) };
    let x = embeddings(&labels, 5, 1);
    let own = [("lp", json!({"weight": 0.5})), ("regular_face", json!({"weight": 2.0}))];
    let configs: Vec<RegularizerConfig> = own.iter().map(|(n, p)| RegularizerConfig::new(n, p).unwrap()).collect();
    assert_eq!(configs.iter().map(|c| c.of.as_str()).collect::<Vec<_>>(), ["embeddings", "proxies"]);
    let base =
        || build("cos_face", &Value::Null, &context).or_else(|_| build("arc_face", &Value::Null, &context)).unwrap();
    let (mut alone, mut both) = (base(), Regularized::new(base(), configs.clone()).unwrap());
    let number = |loss: Tensor| loss.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
    let proxies = alone.parameters().remove(0).1;
    let expected = number(alone.loss(&x, &labels).unwrap())
        + 0.5 * number(configs[0].kind.value(&x).unwrap())
        + 2.0 * number(configs[1].kind.value(&proxies).unwrap());
    assert!((number(both.loss(&x, &labels).unwrap()) - expected).abs() < 1e-10);
    check_gradient("regularised", &x, Tolerance::of_largest(1e-6), |x| both.loss(x, &labels));
    let value = both.loss(&x, &labels).unwrap();
    let gradients = value.backward().unwrap();
    assert!(gradients.get(&both.parameters()[0].1).is_some());
}

#[test]
fn settings_without_meaning_are_refused_by_name() {
    for (name, params, words) in [
        ("l2", json!({}), ["l2", "use one of center_invariant"]),
        ("lp", json!({"q": 1}), ["regularizer lp", "unknown field `q`"]),
        ("lp", json!({"p": 0.5}), ["p is 0.5", "want 1 to"]),
        ("lp", json!({"weight": -1}), ["weight is -1", "want 0 or more"]),
        ("lp", json!({"of": 3}), ["of is 3", "want"]),
        ("sparse_centers", json!({"centers_per_class": 1}), ["centers_per_class is 1", "want 2"]),
    ] {
        let message = RegularizerConfig::new(name, &params).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    let config: RegularizerConfig = serde_json::from_value(json!({"name": "lp", "p": 3, "of": "proxies"})).unwrap();
    let text = serde_json::to_value(&config).unwrap();
    assert_eq!((&text["name"], &text["of"], &text["p"]), (&json!("lp"), &json!("proxies"), &json!(3.0)));
    assert_eq!(serde_json::from_value::<RegularizerConfig>(text).unwrap(), config);
    let rows = Tensor::ones((7, 3), DType::F32, &Device::Cpu).unwrap();
    let message = kind("sparse_centers", &Value::Null).value(&rows).unwrap_err().to_string();
    assert!(message.contains("7 rows") && message.contains("sparse_centers"), "{message}");
    let base = build("contrastive", &Value::Null, &Context::new(4, 4)).unwrap();
    let message = Regularized::new(base, vec![RegularizerConfig::new("regular_face", &Value::Null).unwrap()]).err();
    let message = message.unwrap().to_string();
    assert!(message.contains("regular_face") && message.contains("use one of embeddings"), "{message}");
}
