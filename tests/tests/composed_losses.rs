//! The fused kernels against the composed losses in double precision: value and gradients, for every loss and mode.

use candle_core::{DType, Device, Tensor, Var};
use dml_losses::{Context, LOSSES, Objective};
use dml_testkit::close::to_f64;
use dml_testkit::{Tolerance, assert_close, compare};
use dml_tests::{batch, composed};
use serde_json::{Value, json};

const CLASSES: usize = 12;

/// Every loss at its defaults, and its other modes.
fn cases() -> Vec<(&'static str, Value)> {
    let mut cases: Vec<(&str, Value)> = LOSSES.iter().map(|loss| (loss.name, (loss.default_params)())).collect();
    for normalize in [true, false] {
        for metric in ["euclidean", "squared_euclidean"] {
            let params = json!({"metric": metric, "normalize": normalize, "pos_margin": 0.2, "neg_margin": 1.1});
            cases.push(("contrastive", params));
        }
    }
    cases.push(("contrastive", json!({"metric": "cosine", "pos_margin": 0.9, "neg_margin": 0.4})));
    cases.push(("contrastive", json!({"metric": "dot", "normalize": false, "pos_margin": 1.5, "neg_margin": 0.5})));
    for mining in ["all", "semi_hard", "batch_hard"] {
        for metric in ["euclidean", "squared_euclidean", "cosine", "dot"] {
            for normalize in [true, false] {
                let params = json!({"mining": mining, "metric": metric, "normalize": normalize, "margin": 0.2});
                cases.push(("triplet", params));
            }
        }
    }
    cases.push(("triplet", json!({"mining": "batch_hard", "soft": true, "margin": 0.2})));
    cases.push(("triplet", json!({"mining": "batch_hard", "soft": true, "margin": 0.0, "metric": "cosine"})));
    cases.push(("multi_similarity", json!({"alpha": 2.0, "beta": 40.0, "base": 0.4, "epsilon": 0.1})));
    cases.push(("multi_similarity", json!({"alpha": 1.0, "beta": 5.0, "epsilon": -0.1})));
    cases.push(("n_pairs", json!({"normalize": false, "l2": 0.005})));
    cases.push(("normalized_softmax", json!({"temperature": 0.5})));
    cases.push(("proxy_nca", json!({"softmax_scale": 9.0})));
    cases.push(("proxy_anchor", json!({"margin": 0.3, "alpha": 4.0})));
    // 85 degrees: about half of the targets are past π − m.
    cases.push(("arc_face", json!({"margin": 85.0, "scale": 8.0})));
    cases.push(("prototypical", json!({"n_support": 3, "scale": 0.5})));
    cases.push(("prototypical", json!({"n_support": 2, "metric": "cosine", "scale": 10.0})));
    cases.push(("prototypical", json!({"n_support": 2, "metric": "euclidean"})));
    cases
}

/// Labels without any order, some classes small or absent.
fn labels(n: usize, seed: u64) -> Vec<u32> {
    (0..n as u64).map(|i| ((i * i * 7 + i * 3 + seed * 5) % 31 % CLASSES as u64) as u32).collect()
}

/// Value, and the gradients at the embeddings and at the parameters, as `f64`.
fn evaluate(objective: &mut dyn Objective, embeddings: &Var, labels: &[u32]) -> Vec<(String, Tensor)> {
    let loss = objective.loss(embeddings, labels).unwrap();
    let gradients = loss.backward().unwrap();
    let gradient = |var: &Var| gradients.get(var).expect("a gradient, if only 0").to_dtype(DType::F64).unwrap();
    let mut all = vec![
        ("value".to_owned(), loss.to_dtype(DType::F64).unwrap()),
        ("gradient at the embeddings".to_owned(), gradient(embeddings)),
    ];
    all.extend(objective.parameters().iter().map(|(name, var)| (format!("gradient at the {name}"), gradient(var))));
    all
}

/// Share of the largest element by which single precision may be off.
const ROUNDING: f64 = 1e-4;

/// A batch, and the composed loss on it in double precision.
struct Expected {
    seed: u64,
    labels: Vec<u32>,
    embeddings: Tensor,
    results: Vec<(String, Tensor)>,
}

/// The first batch whose result does not hang on the last digits of its embeddings. Others have a pair so near to a
/// margin that single and double precision may count it differently, and both are right.
fn well_conditioned(name: &str, params: &Value, n: usize, d: usize) -> Expected {
    let seeds = n as u64..n as u64 + 40;
    let on = |seed: u64| -> Option<Expected> {
        let labels = labels(n, seed);
        let context = Context { dim: d, classes: CLASSES, seed, device: Device::Cpu };
        let mut composed = composed::build(name, params, &context).unwrap();
        let embeddings = Tensor::from_vec(batch::embeddings(&labels, d, seed), (n, d), &Device::Cpu).unwrap();
        let double = embeddings.to_dtype(DType::F64).unwrap();
        let mut at = |x: &Tensor| evaluate(composed.as_mut(), &Var::from_tensor(x).unwrap(), &labels);
        let results = at(&double);
        for direction in 1..=2 {
            let noise = batch::embeddings(&labels, d, 1000 * direction + seed);
            let noise = Tensor::from_vec(noise, (n, d), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
            let noise = (noise * 1e-6).unwrap();
            for moved in [&double + &noise, &double - &noise] {
                let moved = at(&moved.unwrap());
                let near = |(a, b): (&(String, Tensor), &(String, Tensor))| {
                    let tolerance = Tolerance::of_largest(ROUNDING / 2.0);
                    compare(&to_f64(&a.1).unwrap(), &to_f64(&b.1).unwrap(), b.1.dims(), tolerance).is_ok()
                };
                if !moved.iter().zip(&results).all(near) {
                    return None;
                }
            }
        }
        Some(Expected { seed, labels, embeddings, results })
    };
    let found = seeds.into_iter().find_map(on);
    found.unwrap_or_else(|| panic!("{name} {params}: no batch of {n} rows is well conditioned"))
}

fn check(name: &str, params: &Value, n: usize, d: usize) {
    let Expected { seed, labels, embeddings, results } = well_conditioned(name, params, n, d);
    let context = Context { dim: d, classes: CLASSES, seed, device: Device::Cpu };
    let mut fused = dml_losses::build(name, params, &context).unwrap();
    let got = evaluate(fused.as_mut(), &Var::from_tensor(&embeddings).unwrap(), &labels);
    assert_eq!(got.len(), results.len(), "{name}");
    // A small batch may hold no term at all.
    let silent = to_f64(&results[1].1).unwrap().iter().all(|&g| g == 0.0);
    assert!(n < 24 || !silent, "{name} {params} n = {n}: no gradient, so nothing is compared");
    for ((what, got), (_, want)) in got.iter().zip(&results) {
        let what = format!("{name} {params} n = {n}, d = {d}, seed {seed}: {what}");
        assert_close(&what, got, want, Tolerance::of_largest(ROUNDING));
    }
}

#[test]
fn every_loss_of_the_registry_has_a_composed_twin() {
    let context = Context { dim: 8, classes: CLASSES, seed: 0, device: Device::Cpu };
    for loss in LOSSES {
        composed::build(loss.name, &Value::Null, &context).unwrap();
    }
}

#[test]
fn fused_equals_composed() {
    for (name, params) in cases() {
        for (n, d) in [(4, 3), (9, 4), (24, 16), (51, 20), (96, 32)] {
            check(name, &params, n, d);
        }
    }
}

/// The comparison itself must be able to fail.
#[test]
#[should_panic(expected = "of 192 elements differ; worst at")]
fn a_wrong_gradient_is_seen() {
    let labels = labels(24, 0);
    let context = Context { dim: 8, classes: CLASSES, seed: 0, device: Device::Cpu };
    let x = Tensor::from_vec(batch::embeddings(&labels, 8, 0), (24, 8), &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let build = |margin: f64| dml_losses::build("triplet", &json!({"margin": margin}), &context).unwrap();
    let (one, other) = (evaluate(build(0.2).as_mut(), &x, &labels), evaluate(build(0.3).as_mut(), &x, &labels));
    assert_close("gradient", &one[1].1, &other[1].1, Tolerance::of_largest(ROUNDING));
}
