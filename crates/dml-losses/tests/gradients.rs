//! Every loss of the registry against finite differences, on empty batches, and on bad input.

use candle_core::{Device, Tensor, Var};
use dml_losses::{Context, LOSSES, MemoryConfig, Objective, build, build_with_memory};
use serde_json::{Value, json};

const DIM: usize = 4;
const LABELS: [u32; 9] = [0, 0, 1, 1, 2, 2, 2, 3, 0];

fn context() -> Context {
    Context { dim: DIM, classes: 5, seed: 7, device: Device::Cpu }
}

fn embeddings(rows: usize) -> Var {
    let values: Vec<f32> = (0..rows * DIM).map(|i| ((i * i * 37 + 11 * i) % 97) as f32 / 60.0 - 0.8).collect();
    Var::from_tensor(&Tensor::from_vec(values, (rows, DIM), &Device::Cpu).unwrap()).unwrap()
}

/// Smooth enough settings for finite differences, more than one per loss where it has modes.
fn cases() -> Vec<(&'static str, Value)> {
    let mut cases: Vec<(&str, Value)> = LOSSES.iter().map(|l| (l.name, (l.default_params)())).collect();
    cases.extend([
        ("contrastive", json!({"metric": "cosine", "pos_margin": 1.0, "neg_margin": 0.1})),
        ("triplet", json!({"margin": 0.3, "mining": "semi_hard"})),
        ("triplet", json!({"margin": 0.3, "mining": "batch_hard", "soft": true, "normalize": false})),
        ("triplet", json!({"margin": 0.3, "mining": "batch_hard", "metric": "cosine"})),
        ("multi_similarity", json!({"alpha": 2.0, "beta": 5.0, "epsilon": 0.3})),
        ("n_pairs", json!({"normalize": false, "l2": 0.1})),
        ("arc_face", json!({"scale": 4.0, "margin": 80.0})),
        ("prototypical", json!({"metric": "cosine", "scale": 5.0})),
    ]);
    cases
}

fn value(objective: &mut dyn Objective, embeddings: &Tensor, labels: &[u32]) -> f32 {
    objective.loss(embeddings, labels).unwrap().to_scalar().unwrap()
}

/// Largest difference between the gradient at `var` and central differences of the loss, relative to the gradient.
fn worst(objective: &mut dyn Objective, embeddings: &Var, var: &Var) -> f32 {
    let loss = objective.loss(embeddings, &LABELS).unwrap();
    let gradient: Vec<f32> = loss.backward().unwrap().get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let scale = gradient.iter().fold(1e-2f32, |a, g| a.max(g.abs()));
    let original = var.as_tensor().copy().unwrap();
    let values: Vec<f32> = original.flatten_all().unwrap().to_vec1().unwrap();
    let mut worst = 0f32;
    for k in 0..values.len() {
        let mut at = |sign: f32| {
            let mut values = values.clone();
            values[k] += sign * 1e-3;
            var.set(&Tensor::from_vec(values, original.shape(), &Device::Cpu).unwrap()).unwrap();
            value(objective, embeddings, &LABELS)
        };
        let numeric = (at(1.0) - at(-1.0)) / 2e-3;
        worst = worst.max((numeric - gradient[k]).abs() / scale);
    }
    var.set(&original).unwrap();
    worst
}

#[test]
fn gradients_equal_finite_differences() {
    for (name, params) in cases() {
        let mut objective = build(name, &params, &context()).unwrap();
        let x = embeddings(LABELS.len());
        let difference = worst(objective.as_mut(), &x, &x);
        assert!(difference < 2e-2, "{name} {params}: embeddings {difference}");
        for (parameter, var) in objective.parameters() {
            let difference = worst(objective.as_mut(), &x, &var);
            assert!(difference < 2e-2, "{name} {params}: {parameter} {difference}");
        }
    }
}

#[test]
fn batches_without_a_term_cost_nothing_and_move_nothing() {
    for (name, labels) in [
        ("contrastive", [0u32, 1].as_slice()),
        ("triplet", &[0, 0]),
        ("triplet", &[0, 1]),
        ("n_pairs", &[0, 1]),
        ("prototypical", &[0, 1]),
    ] {
        let mut objective = build(name, &json!({}), &context()).unwrap();
        // Far apart, so that no negative is within the margin either.
        let x = Var::new(&[[3f32, 0.0, 0.0, 0.0], [-3.0, 0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let loss = objective.loss(&x, labels).unwrap();
        assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.0, "{name}");
        let gradient: Vec<f32> = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(gradient.iter().all(|&g| g == 0.0), "{name}");
    }
}

#[test]
fn zero_equal_and_opposite_rows_give_finite_gradients() {
    let rows = [[0f32; DIM], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]];
    for (name, params) in cases() {
        let mut objective = build(name, &params, &context()).unwrap();
        let x = Var::new(&rows, &Device::Cpu).unwrap();
        let loss = objective.loss(&x, &[0, 0, 1, 1]).unwrap();
        let gradient: Vec<f32> = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{name} {params}");
    }
}

#[test]
fn triplets_equal_the_plain_loop() {
    let x = embeddings(LABELS.len());
    let rows: Vec<Vec<f32>> = dml_core::l2_normalize(&x).unwrap().to_vec2().unwrap();
    let distance = |a: usize, b: usize| rows[a].iter().zip(&rows[b]).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt();
    for (mining, margin) in [("all", 0.4f32), ("semi_hard", 0.4)] {
        let (mut sum, mut count) = (0f64, 0);
        let n = LABELS.len();
        for (a, p, k) in (0..n).flat_map(|a| (0..n).flat_map(move |p| (0..n).map(move |k| (a, p, k)))) {
            if a == p || LABELS[a] != LABELS[p] || LABELS[a] == LABELS[k] {
                continue;
            }
            let (near, far) = (distance(a, p), distance(a, k));
            if near - far + margin > 0.0 && (mining == "all" || far > near) {
                sum += f64::from(near - far + margin);
                count += 1;
            }
        }
        let mut objective = build("triplet", &json!({"margin": margin, "mining": mining}), &context()).unwrap();
        let ours = f64::from(value(objective.as_mut(), &x, &LABELS));
        assert!((ours - sum / f64::from(count)).abs() < 1e-5, "{mining}: {ours}");
    }
}

#[test]
fn memory_compares_with_the_past_and_survives_a_restart() {
    let memory = MemoryConfig { size: 12, start_step: 1, batch_weight: 0.0, ..MemoryConfig::default() };
    let make = || build_with_memory("contrastive", &json!({}), &memory, &context()).unwrap();
    let (mut whole, mut first) = (make(), make());
    let batch = |k: usize| (embeddings(5 + k).narrow(0, k, 5).unwrap(), LABELS[k..k + 5].to_vec());
    for k in 0..3 {
        let (x, labels) = batch(k);
        assert_eq!(value(whole.as_mut(), &x, &labels), value(first.as_mut(), &x, &labels));
    }
    let mut second = make();
    second.load_state(&first.state().unwrap().into_iter().collect()).unwrap();
    let mut fresh = make();
    let (x, labels) = batch(4);
    let expected = value(whole.as_mut(), &x, &labels);
    assert_eq!(value(second.as_mut(), &x, &labels), expected);
    assert_ne!(value(fresh.as_mut(), &x, &labels), expected);
}

#[test]
fn bad_input_is_an_error_that_names_the_thing_and_the_mend() {
    let message = |name: &str, params: Value| build(name, &params, &context()).err().unwrap().to_string();
    assert!(message("tripplet", json!({})).contains("use one of arc_face, contrastive"));
    assert!(message("triplet", json!({"margn": 1})).contains("margn"));
    assert!(message("triplet", json!({"soft": true})).contains("batch_hard"));
    assert!(message("proxy_nca", json!({"softmax_scale": 0.0})).contains("above 0"));
    let x = embeddings(3);
    for spec in LOSSES {
        let mut objective = build(spec.name, &Value::Null, &context()).unwrap();
        let error = objective.loss(&x, &[0, 1]).unwrap_err().to_string();
        assert!(error.contains('2') && error.contains('3'), "{}: {error}", spec.name);
    }
    let mut proxies = build("proxy_anchor", &Value::Null, &context()).unwrap();
    assert!(proxies.loss(&x, &[0, 1, 9]).unwrap_err().to_string().contains("label 9 has no proxy"));
    let memory = build_with_memory("n_pairs", &Value::Null, &MemoryConfig::default(), &context());
    assert!(memory.err().unwrap().to_string().contains("contrastive"));
}
