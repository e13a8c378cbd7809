//! What must hold for every loss of the registry on any batch: the order of rows, the names of classes and the number of
//! threads do not matter, the gradient is the derivative, and a batch with nothing to learn from costs nothing.

use candle_core::{Device, Tensor, Var};
use dml_losses::{Context, Family, LOSSES, MemoryConfig, Objective, build, build_with_memory};
use dml_testkit::{Tolerance, check_gradient};
use proptest::prelude::*;
use serde_json::{Value, json};

const DIM: usize = 6;
const CLASSES: usize = 5;

/// Every loss with its defaults, and its other modes.
fn cases() -> Vec<(&'static str, Value)> {
    let mut cases: Vec<(&str, Value)> = LOSSES.iter().map(|loss| (loss.name, (loss.default_params)())).collect();
    cases.extend([
        ("contrastive", json!({"metric": "cosine", "pos_margin": 0.9, "neg_margin": 0.2})),
        ("triplet", json!({"margin": 0.3, "mining": "semi_hard"})),
        ("triplet", json!({"margin": 0.3, "mining": "batch_hard", "metric": "squared_euclidean"})),
        ("triplet", json!({"margin": 0.3, "mining": "batch_hard", "soft": true, "normalize": false})),
        ("multi_similarity", json!({"beta": 10.0, "epsilon": 0.2})),
        ("n_pairs", json!({"normalize": false, "l2": 0.01})),
        ("prototypical", json!({"n_support": 2, "metric": "cosine", "scale": 5.0})),
    ]);
    cases
}

/// Settings gentle enough for central differences in single precision. Hinges are left to the other tests: a difference
/// over a kink says nothing.
fn smooth_cases() -> Vec<(&'static str, Value)> {
    vec![
        ("arc_face", json!({"margin": 20.0, "scale": 4.0})),
        ("multi_similarity", json!({"beta": 5.0})),
        ("n_pairs", json!({"l2": 0.01})),
        ("normalized_softmax", json!({"temperature": 0.5})),
        ("prototypical", json!({"scale": 0.5})),
        ("proxy_anchor", json!({"alpha": 4.0})),
        ("proxy_nca", json!({})),
    ]
}

fn family(name: &str) -> Family {
    LOSSES.iter().find(|loss| loss.name == name).unwrap().family
}

fn make(name: &str, params: &Value) -> Box<dyn Objective> {
    let context = Context { dim: DIM, classes: CLASSES, seed: 3, device: Device::Cpu };
    build(name, params, &context).unwrap()
}

/// Value and gradient at the embeddings `[n, DIM]`.
fn evaluate(objective: &mut dyn Objective, rows: &[f32], labels: &[u32]) -> (f32, Vec<f32>) {
    let x = Var::from_tensor(&Tensor::from_slice(rows, (labels.len(), DIM), &Device::Cpu).unwrap()).unwrap();
    let loss = objective.loss(&x, labels).unwrap();
    let gradient = loss.backward().unwrap().get(&x).expect("a gradient").flatten_all().unwrap().to_vec1().unwrap();
    (loss.to_scalar().unwrap(), gradient)
}

fn assert_near(what: &str, got: &[f32], want: &[f32]) {
    let scale = want.iter().fold(1e-3f32, |scale, w| scale.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 1e-4 * scale, "{what}: {g} for {w} at {i}");
    }
}

/// A batch of `2..most` rows.
fn batch(most: usize) -> impl Strategy<Value = (Vec<f32>, Vec<u32>)> {
    (2..most)
        .prop_flat_map(|n| (prop::collection::vec(-1f32..1.0, n * DIM), prop::collection::vec(0..CLASSES as u32, n)))
}

/// A larger batch, the same at each call.
fn fixed_batch(n: usize) -> (Vec<f32>, Vec<u32>) {
    let rows = (0..n * DIM).map(|i| ((i * i * 37 + 11 * i) % 997) as f32 / 600.0 - 0.8).collect();
    (rows, (0..n as u32).map(|i| (i * i + i / 3) % CLASSES as u32).collect())
}

/// `order` with the rows of each class in their first order: what N-pairs and prototypes, which take the first rows of a
/// class, do not notice.
fn keep_classes_in_order(order: &[usize], labels: &[u32]) -> Vec<usize> {
    let mut rows: Vec<_> = (0..CLASSES as u32).map(|c| (0..labels.len()).filter(move |&i| labels[i] == c)).collect();
    order.iter().map(|&i| rows[labels[i] as usize].next().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_of_rows_does_not_matter(
        ((rows, labels), order) in batch(24).prop_flat_map(|batch| {
            let order: Vec<usize> = (0..batch.1.len()).collect();
            (Just(batch), Just(order).prop_shuffle())
        }),
    ) {
        for (name, params) in cases() {
            let takes_first_rows = ["n_pairs", "prototypical"].contains(&name);
            let order = if takes_first_rows { keep_classes_in_order(&order, &labels) } else { order.clone() };
            let permute = |values: &[f32]| -> Vec<f32> {
                order.iter().flat_map(|&i| &values[i * DIM..][..DIM]).copied().collect()
            };
            let permuted_labels: Vec<u32> = order.iter().map(|&i| labels[i]).collect();
            let (value, gradient) = evaluate(make(name, &params).as_mut(), &rows, &labels);
            let (permuted, permuted_gradient) = evaluate(make(name, &params).as_mut(), &permute(&rows), &permuted_labels);
            assert_near(&format!("{name} {params} value"), &[permuted], &[value]);
            assert_near(&format!("{name} {params} gradient"), &permuted_gradient, &permute(&gradient));
        }
    }

    #[test]
    fn names_of_classes_do_not_matter(
        (rows, labels) in batch(24),
        names in Just(vec![7u32, 0, u32::MAX, 1 << 24, (1 << 24) + 1]).prop_shuffle(),
    ) {
        let renamed: Vec<u32> = labels.iter().map(|&label| names[label as usize]).collect();
        for (name, params) in cases() {
            match family(name) {
                Family::Pair => prop_assert_eq!(
                    evaluate(make(name, &params).as_mut(), &rows, &renamed),
                    evaluate(make(name, &params).as_mut(), &rows, &labels),
                    "{} {}", name, params
                ),
                Family::FewShot => {
                    let (value, gradient) = evaluate(make(name, &params).as_mut(), &rows, &labels);
                    let (other, other_gradient) = evaluate(make(name, &params).as_mut(), &rows, &renamed);
                    assert_near(name, &[other], &[value]);
                    assert_near(name, &other_gradient, &gradient);
                }
                // A proxy is found by its label.
                Family::Proxy => {}
            }
        }
    }

    #[test]
    fn one_row_is_no_batch(row in prop::collection::vec(-1f32..1.0, DIM), label in 0..CLASSES as u32) {
        for (name, params) in cases() {
            let (value, gradient) = evaluate(make(name, &params).as_mut(), &row, &[label]);
            if family(name) == Family::Proxy {
                prop_assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{} {}", name, params);
            } else {
                prop_assert!(value == 0.0 && gradient.iter().all(|g| *g == 0.0), "{} {}: {}", name, params, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn gradients_are_derivatives((rows, labels) in batch(8)) {
        // Short rows turn fast: a step of the difference must be small beside them.
        prop_assume!(rows.chunks_exact(DIM).all(|row| row.iter().map(|v| v * v).sum::<f32>() > 0.5));
        let x = Tensor::from_slice(&rows, (labels.len(), DIM), &Device::Cpu).unwrap();
        for (name, params) in smooth_cases() {
            let mut objective = make(name, &params);
            check_gradient(name, &x, Tolerance { absolute: 1e-3, relative: 0.0, of_largest: 1e-2 }, |x| objective.loss(x, &labels));
        }
    }
}

#[test]
fn a_batch_of_no_rows_is_zero() {
    for (name, params) in cases() {
        assert_eq!(evaluate(make(name, &params).as_mut(), &[], &[]), (0.0, Vec::new()), "{name} {params}");
    }
}

#[test]
fn number_of_threads_does_not_matter() {
    let memory = MemoryConfig { size: 200, ..MemoryConfig::default() };
    let context = Context { dim: DIM, classes: CLASSES, seed: 3, device: Device::Cpu };
    let wrapped = |name: &str, params: &Value| build_with_memory(name, params, &memory, &context).ok();
    for (name, params) in cases() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let objectives = [Some(make(name, &params)), wrapped(name, &params)];
                let mut results = Vec::new();
                for mut objective in objectives.into_iter().flatten() {
                    // More rows than a tile, and a last tile that is not full.
                    for n in [3, 64, 150] {
                        let (rows, labels) = fixed_batch(n);
                        let (value, gradient) = evaluate(objective.as_mut(), &rows, &labels);
                        results.push((value.to_bits(), gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>()));
                    }
                }
                results
            })
        };
        let one = run(1);
        assert!(one.iter().any(|(value, _)| *value != 0), "{name} {params}: nothing was compared");
        for threads in [2, 5] {
            assert!(run(threads) == one, "{name} {params}: {threads} threads give another result than one");
        }
    }
}
