//! A sample of the proxies instead of all (`sample_rate`, Partial FC): which take part, and what they get.

use candle_core::{DType, Device, Tensor, Var};
use dml_losses::{Context, Kernel, Objective, build};
use serde_json::{Value, json};
use std::collections::HashMap;

const CLASSES: usize = 40;
const DIM: usize = 8;
const LABELS: [u64; 6] = [3, 3, 17, 39, 0, 17];

/// Losses that sample, gentle enough for every proxy of the sample to have a gradient that shows.
fn cases() -> Vec<(&'static str, Value)> {
    vec![
        ("arc_face", json!({"scale": 4.0, "margin": 20.0})),
        ("cos_face", json!({"scale": 4.0, "margin": 0.2})),
        ("normalized_softmax", json!({"temperature": 0.5})),
    ]
}

fn with_rate(params: &Value, rate: f64) -> Value {
    let mut params = params.clone();
    params["sample_rate"] = json!(rate);
    params
}

fn context(classes: usize, seed: u64, kernel: Kernel) -> Context {
    Context { seed, kernel, dtype: DType::F64, ..Context::new(DIM, classes) }
}

fn embeddings() -> Var {
    let values = (0..LABELS.len() * DIM).map(|i| ((i * i * 37 + 11 * i) % 97) as f64 / 60.0 - 0.8).collect();
    Var::from_tensor(&Tensor::from_vec(values, (LABELS.len(), DIM), &Device::Cpu).unwrap()).unwrap()
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// Value, gradient at the embeddings, gradient at the proxies.
fn step(loss: &mut dyn Objective, x: &Var, labels: &[u64]) -> (f64, Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let value = loss.loss(x, labels).unwrap();
    let gradients = value.backward().unwrap();
    let proxies = loss.parameters().remove(0).1;
    let at = |var: &Var| rows(gradients.get(var).expect("a gradient"));
    (value.to_scalar().unwrap(), at(x), at(&proxies))
}

/// Classes whose proxies have a gradient.
fn moved(gradient: &[Vec<f64>]) -> Vec<u64> {
    (0..gradient.len()).filter(|&c| gradient[c].iter().any(|&g| g != 0.0)).map(|c| c as u64).collect()
}

fn sample(loss: &mut dyn Objective, x: &Var) -> Vec<u64> {
    moved(&step(loss, x, &LABELS).2)
}

fn assert_near(what: &str, got: &[Vec<f64>], want: &[Vec<f64>]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!((got - want).abs() < 1e-12, "{what}: {got} and {want}");
    }
}

#[test]
fn a_step_is_the_full_loss_of_the_sampled_classes() {
    for (name, params) in cases() {
        for kernel in [Kernel::Auto, Kernel::Composed] {
            let x = embeddings();
            let mut loss = build(name, &with_rate(&params, 0.3), &context(CLASSES, 5, kernel)).unwrap();
            for _ in 0..3 {
                let (value, at_x, at_proxies) = step(loss.as_mut(), &x, &LABELS);
                let sampled = moved(&at_proxies);
                assert_eq!(sampled.len(), 12, "{name}: 0.3 of 40");
                assert!(LABELS.iter().all(|label| sampled.contains(label)), "{name}: the batch's own classes");

                // All of a loss that knows these classes only.
                let mut small = build(name, &params, &context(sampled.len(), 0, kernel)).unwrap();
                let chosen: Vec<u32> = sampled.iter().map(|&class| class as u32).collect();
                let chosen = Tensor::new(chosen.as_slice(), &Device::Cpu).unwrap();
                let proxies = loss.parameters().remove(0).1.as_tensor().index_select(&chosen, 0).unwrap();
                small.parameters()[0].1.set(&proxies.detach()).unwrap();
                let place = |label: &u64| sampled.iter().position(|class| class == label).unwrap() as u64;
                let labels: Vec<u64> = LABELS.iter().map(place).collect();
                let (want, want_at_x, want_at_proxies) = step(small.as_mut(), &x, &labels);
                assert!((value - want).abs() < 1e-12, "{name}: {value} and {want}");
                assert_near(&format!("{name}: embeddings"), &at_x, &want_at_x);
                let at_sampled: Vec<_> = sampled.iter().map(|&c| at_proxies[c as usize].clone()).collect();
                assert_near(&format!("{name}: proxies"), &at_sampled, &want_at_proxies);
                // The others are no rows of `moved`: all of their gradient is exactly 0.
            }
        }
    }
}

#[test]
fn both_kernels_draw_the_same_sample() {
    let (name, params) = cases().remove(0);
    let x = embeddings();
    let mut samples = [Kernel::Auto, Kernel::Composed].map(|kernel| {
        let mut loss = build(name, &with_rate(&params, 0.25), &context(CLASSES, 9, kernel)).unwrap();
        (0..4).map(|_| step(loss.as_mut(), &x, &LABELS)).collect::<Vec<_>>()
    });
    let [fused, composed] = &mut samples;
    for ((value, at_x, at_proxies), (want, want_at_x, want_at_proxies)) in fused.iter().zip(composed) {
        assert!((value - *want).abs() < 1e-12);
        assert_near("embeddings", at_x, want_at_x);
        assert_near("proxies", at_proxies, want_at_proxies);
    }
}

#[test]
fn the_sample_follows_from_seed_and_step() {
    let (name, params) = cases().remove(0);
    let x = embeddings();
    let draw = |seed: u64, steps: usize| -> Vec<Vec<u64>> {
        let mut loss = build(name, &with_rate(&params, 0.3), &context(CLASSES, seed, Kernel::Auto)).unwrap();
        (0..steps).map(|_| sample(loss.as_mut(), &x)).collect()
    };
    let samples = draw(1, 4);
    assert_eq!(samples, draw(1, 4));
    assert_ne!(samples, draw(2, 4));
    assert!((1..4).all(|step| samples[step] != samples[0]), "each step draws anew");
}

#[test]
fn a_restored_state_goes_on_with_the_same_samples() {
    let x = embeddings();
    for (name, params) in cases() {
        let make = || build(name, &with_rate(&params, 0.3), &context(CLASSES, 4, Kernel::Auto)).unwrap();
        let mut loss = make();
        (0..3).for_each(|_| drop(step(loss.as_mut(), &x, &LABELS)));
        let state: HashMap<String, Tensor> = loss.state().unwrap().into_iter().collect();
        let mut restored = make();
        restored.load_state(&state).unwrap();
        for _ in 0..3 {
            assert_eq!(sample(restored.as_mut(), &x), sample(loss.as_mut(), &x), "{name}");
        }
        assert!(make().load_state(&HashMap::new()).is_err(), "{name}: a missing step is no step");
        // Without samples there is nothing to save.
        assert!(build(name, &params, &context(CLASSES, 4, Kernel::Auto)).unwrap().state().unwrap().is_empty());
    }
}

#[test]
fn the_rate_bounds_the_sample() {
    let x = embeddings();
    let (name, params) = cases().remove(2);
    for (rate, want) in [(1.0, CLASSES), (0.99, CLASSES), (0.96, 39), (0.5, 20), (0.11, 5), (0.1, 4), (0.001, 4)] {
        let mut loss = build(name, &with_rate(&params, rate), &context(CLASSES, 0, Kernel::Auto)).unwrap();
        // Never fewer than the four classes of the batch.
        assert_eq!(sample(loss.as_mut(), &x).len(), want, "{rate}");
    }
    for rate in [0.0, -0.1, 1.1] {
        assert!(build(name, &with_rate(&params, rate), &context(CLASSES, 0, Kernel::Auto)).is_err(), "{rate}");
    }
}

#[test]
fn classes_are_drawn_evenly() {
    const STEPS: usize = 600;
    let x = embeddings();
    let (name, params) = cases().remove(2);
    let mut loss = build(name, &with_rate(&params, 0.3), &context(CLASSES, 11, Kernel::Auto)).unwrap();
    let mut counts = [0usize; CLASSES];
    for _ in 0..STEPS {
        sample(loss.as_mut(), &x).iter().for_each(|&class| counts[class as usize] += 1);
    }
    let others: Vec<f64> = (0..CLASSES).filter(|&c| !LABELS.contains(&(c as u64))).map(|c| counts[c] as f64).collect();
    assert!(LABELS.iter().all(|&label| counts[label as usize] == STEPS));
    // 8 of 36 without replacement: variance p(1 − p) each.
    let p = 8.0 / others.len() as f64;
    let expected = STEPS as f64 * p;
    let chi: f64 = others.iter().map(|count| (count - expected).powi(2) / (expected * (1.0 - p))).sum();
    // About chi-squared of 35 degrees times 36/35; 0.1 % on each side.
    assert!((14.0..68.0).contains(&chi), "{chi}: {others:?}");
}
