//! The configuration of a loss and of what goes around it: what it builds, what it says of itself, what it refuses.

mod cases;

use candle_core::{DType, Tensor};
use cases::{context, embeddings};
use dml_losses::{Family, LOSSES, ObjectiveConfig, build};
use dml_testkit::{Tolerance, assert_close, check_gradient};
use serde_json::{Value, json};
use std::collections::HashMap;

const DIM: usize = 6;

fn number(loss: &Tensor) -> f64 {
    loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// Batches of four.
fn batch(k: u64) -> (Tensor, Vec<u64>) {
    let labels = vec![k % 3, k % 3, (k + 1) % 3, (k + 1) % 3];
    (embeddings(&labels, DIM, k + 1), labels)
}

#[test]
fn what_surrounds_a_loss_says_of_it_what_it_says() {
    let built = |value: Value| config(value).build(&context(DIM, 4)).unwrap();
    for (value, [references, classes]) in [
        (json!({"name": "contrastive", "matryoshka": {"dims": [3, 6]}}), [false, false]),
        (json!({"name": "vic_reg", "matryoshka": {"dims": [3, 6]}}), [true, false]),
        (json!({"name": "vic_reg", "regularizers": [{"name": "lp"}]}), [true, false]),
        (json!({"name": "vic_reg", "plus": [{"name": "clip"}]}), [true, false]),
        (json!({"name": "contrastive", "self_supervised": {}}), [true, false]),
        (json!({"name": "soft_triple", "regularizers": [{"name": "lp"}]}), [false, true]),
        (json!({"name": "proxy_anchor", "matryoshka": {"dims": [3, 6]}}), [false, true]),
        (json!({"name": "contrastive", "plus": [{"name": "normalized_softmax"}]}), [false, true]),
        (
            json!({"name": "margin", "params": {"per_class": true}, "miner": {"name": "multi_similarity"}}),
            [false, true],
        ),
        (json!({"name": "margin", "params": {"per_class": true}, "memory": {}}), [false, true]),
        (json!({"name": "margin"}), [false, false]),
    ] {
        let objective = built(value.clone());
        assert_eq!([objective.needs_references(), objective.learns_classes()], [references, classes], "{value}");
    }
    for spec in LOSSES {
        let objective = build(spec.name, &Value::Null, &context(DIM, 4)).unwrap();
        assert_eq!(objective.learns_classes(), spec.family == Family::Proxy, "{}", spec.name);
        assert_eq!(objective.needs_references(), spec.family == Family::Views, "{}", spec.name);
    }
}

fn config(value: Value) -> ObjectiveConfig {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_configuration_builds_what_it_says() {
    let (x, labels) = batch(1);
    let context = context(DIM, 4);
    let plain = |name: &str, params: Value| number(&build(name, &params, &context).unwrap().loss(&x, &labels).unwrap());
    let of = |value: Value| number(&config(value).build(&context).unwrap().loss(&x, &labels).unwrap());
    assert_eq!(of(json!({"name": "contrastive"})), plain("contrastive", Value::Null));
    assert_eq!(of(json!({"name": "contrastive", "preset": "paper", "params": {"neg_margin": 2.0}})), {
        plain("contrastive", json!({"neg_margin": 2.0, "power": 2, "normalize": false}))
    });
    let half = of(json!({"name": "contrastive", "reduction": {"divisor": 4}}));
    assert!((half - 0.5 * of(json!({"name": "contrastive", "reduction": {"divisor": 2}}))).abs() < 1e-12);
    let sum = of(json!({"name": "contrastive", "weight": 2, "plus": [{"name": "arc_face", "weight": 0.5}]}));
    let expected = 2.0 * plain("contrastive", Value::Null) + 0.5 * plain("arc_face", Value::Null);
    assert!((sum - expected).abs() < 1e-10);
    let everything = config(json!({
        "name": "contrastive", "params": {"neg_margin": 1.2}, "reduction": "mean", "miner": {"name": "multi_similarity"},
        "memory": {"size": 8}, "matryoshka": {"dims": [6, 3]}, "regularizers": [{"name": "lp", "weight": 0.01}],
        "plus": [{"name": "arc_face", "weight": 0.1, "regularizers": [{"name": "regular_face"}]}]
    }));
    // The memory takes no gradient, so it stands still for the differences.
    let mut moving = ObjectiveConfig { memory: None, ..everything.clone() }.build(&context).unwrap();
    check_gradient("all but the memory", &x, Tolerance::of_largest(1e-6), |x| moving.loss(x, &labels));
    let mut objective = everything.build(&context).unwrap();
    (0..3).for_each(|k| drop(objective.loss(&batch(k).0, &batch(k).1).unwrap()));
    let state: HashMap<String, Tensor> = objective.state().unwrap().into_iter().collect();
    let mut restored = everything.build(&context).unwrap();
    restored.load_state(&state).unwrap();
    for ((name, a), (other, b)) in objective.parameters().iter().zip(restored.parameters()) {
        assert_eq!(name, &other);
        assert_close(name, a, &b, Tolerance::elementwise(0.0, 0.0));
    }
    let (a, b) = (objective.loss(&x, &labels).unwrap(), restored.loss(&x, &labels).unwrap());
    assert_eq!(number(&a), number(&b));
    let text = serde_json::to_value(&everything).unwrap();
    assert_eq!(config(text), everything);
    let text = toml::to_string(&everything).unwrap();
    assert_eq!(toml::from_str::<ObjectiveConfig>(&text).unwrap(), everything, "{text}");
    let views = config(json!({"name": "contrastive", "self_supervised": {}})).build(&context).unwrap();
    assert!(views.takes_references());
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let context = context(DIM, 4);
    for (value, words) in [
        (json!({"name": "contrastiv"}), ["contrastiv", "use one of"]),
        (json!({"name": "contrastive", "params": {"margn": 1}}), ["loss contrastive", "margn"]),
        (json!({"name": "contrastive", "preset": "papr"}), ["papr", "paper"]),
        (json!({"name": "arc_face", "memory": {}}), ["loss arc_face: memory", "contrastive"]),
        (
            json!({"name": "prototypical", "miner": {"name": "batch_hard"}}),
            ["loss prototypical: miner", "leave the miner out"],
        ),
        (
            json!({"name": "contrastive", "reduction": {"divisor": -1}}),
            ["loss contrastive: reduction", "divisor is -1"],
        ),
        (
            json!({"name": "contrastive", "reduction": {"class_weighted": [1]}}),
            ["1 weights for 4 classes", "loss contrastive"],
        ),
        (
            json!({"name": "contrastive", "reduction": "none", "regularizers": [{"name": "lp"}]}),
            ["reduction none", "regularizers"],
        ),
        (
            json!({"name": "contrastive", "reduction": "none", "plus": [{"name": "arc_face"}]}),
            ["reduction none", "plus"],
        ),
        (
            json!({"name": "contrastive", "regularizers": [{"name": "regular_face"}]}),
            ["loss contrastive: regularizer regular_face", "proxies"],
        ),
        (json!({"name": "contrastive", "self_supervised": {}, "memory": {}}), ["self_supervised", "leave one out"]),
        (
            json!({"name": "arc_face", "self_supervised": {}}),
            ["loss arc_face: self_supervised", "learns something for each class"],
        ),
        (
            json!({"name": "margin", "params": {"per_class": true}, "self_supervised": {"symmetric": false}}),
            ["loss margin: self_supervised", "learns something for each class"],
        ),
        (
            json!({"name": "prototypical", "self_supervised": {"symmetric": false}}),
            ["loss prototypical: self_supervised", "symmetric = true"],
        ),
        (
            json!({"name": "contrastive", "miner": {"name": "packaged_triplets"}, "memory": {}}),
            ["packaged_triplets", "leave one out"],
        ),
        (json!({"name": "contrastive", "weight": 2}), ["weight is 2", "leave it out"]),
        (json!({"name": "contrastive", "matryoshka": {"dims": [7]}}), ["loss contrastive: matryoshka", "1 to 6"]),
        (
            json!({"name": "contrastive", "plus": [{"name": "contrastive", "self_supervised": {}}]}),
            ["self_supervised", "all or none"],
        ),
    ] {
        let message = config(value).build(&context).err().unwrap().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    for (value, word) in [
        (json!({"name": "contrastive", "minor": {}}), "unknown field `minor`"),
        (
            json!({"name": "contrastive", "miner": {"name": "batch_hard", "k": 1}}),
            "miner batch_hard: unknown field `k`",
        ),
        (json!({"name": "contrastive", "memory": {"sise": 1}}), "unknown field `sise`"),
    ] {
        let message = serde_json::from_value::<ObjectiveConfig>(value).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
}
