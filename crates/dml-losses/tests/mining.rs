//! Miners: what pytorch-metric-learning's return, and what must hold of those that draw.

use candle_core::{DType, Device, Tensor};
use dml_losses::{Batch, Context, Error, MINERS, Miner, MinerConfig, References, Supervision, Tuples};
use dml_testkit::{Case, load_goldens};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

fn goldens(file: &str) -> Vec<Case> {
    load_goldens(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(file)).unwrap()
}

fn miner(name: &str, params: Value, seed: u64) -> Box<dyn Miner> {
    let context = Context { seed, ..Context::new(4, 4) };
    MinerConfig::new(name, &params).unwrap().build(&context).unwrap()
}

/// Labels of any width, as bits.
fn labels(case: &Case, name: &str) -> Supervision {
    let tensor = case.tensor(name).unwrap();
    Supervision::Labels(match tensor.dtype() {
        DType::I64 => tensor.to_vec1::<i64>().unwrap().into_iter().map(|label| label as u64).collect(),
        _ => tensor.to_vec1::<u32>().unwrap().into_iter().map(u64::from).collect(),
    })
}

/// The lists by name, sorted as the goldens are.
fn lists(tuples: Tuples) -> HashMap<&'static str, Vec<u32>> {
    let column = |rows: &[[u32; 3]], k: usize| rows.iter().map(|row| row[k]).collect();
    match tuples {
        Tuples::Triplets(mut triplets) => {
            triplets.sort_unstable();
            [("a", 0), ("p", 1), ("n", 2)].map(|(name, k)| (name, column(&triplets, k))).into()
        }
        Tuples::Pairs { mut positives, mut negatives } => {
            positives.sort_unstable();
            negatives.sort_unstable();
            let ((a1, p), (a2, n)) = (positives.into_iter().unzip(), negatives.into_iter().unzip());
            [("a1", a1), ("p", p), ("a2", a2), ("n", n)].into()
        }
    }
}

#[test]
fn goldens_of_every_deterministic_miner() {
    let batches = goldens("losses/batches.safetensors");
    let cases = goldens("miners.safetensors");
    let mut compared = 0;
    for (case, batch) in cases.iter().flat_map(|case| batches.iter().map(move |batch| (case, batch))) {
        let golden = |list: &str| format!("{}/{list}", batch.name);
        if !case.has(&golden("n")) {
            continue;
        }
        for dtype in [DType::F64, DType::F32] {
            let tensor = |name: &str| batch.tensor(name).unwrap().to_dtype(dtype).unwrap();
            let (embeddings, supervision) = (tensor("embeddings"), labels(batch, "labels"));
            let others = batch.has("ref_embeddings").then(|| (tensor("ref_embeddings"), labels(batch, "ref_labels")));
            let references = others.as_ref().map(|(embeddings, supervision)| References {
                embeddings,
                supervision,
                self_offset: None,
            });
            let mut miner = miner(case.description["miner"].as_str().unwrap(), case.params().clone(), 0);
            let found = lists(miner.mine(&Batch { references, ..Batch::new(&embeddings, &supervision) }).unwrap());
            for (list, found) in found {
                let expected = case.labels(&golden(list)).unwrap();
                assert_eq!(found, expected, "{} {} {dtype:?}: {list}", case.name, batch.name);
            }
            compared += 1;
        }
    }
    let mined: Vec<&str> = cases.iter().map(|case| case.description["miner"].as_str().unwrap()).collect();
    for spec in MINERS.iter().filter(|spec| !spec.random) {
        assert!(mined.contains(&spec.name), "no golden of {}", spec.name);
    }
    assert!(compared > 500, "{compared}");
}

/// Rows on a circle's worth of directions, from a seed.
fn rows(n: usize, d: usize, seed: u64) -> Tensor {
    let value = |k: usize| ((k as f64 + 1.0) * 0.7 + (seed as f64 + 1.0) * 1.9).sin() * 43_758.545_3;
    let values: Vec<f64> = (0..n * d).map(|k| value(k) - value(k).floor() - 0.5).collect();
    Tensor::from_vec(values, (n, d), &Device::Cpu).unwrap()
}

const RANDOM: [&str; 3] = ["distance_weighted", "rho_distance", "uniform_histogram"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_miners_keep_to_classes_and_repeat_themselves(
        labels in prop::collection::vec(0u64..4, 1..14),
        seed in 0u64..1000,
        which in 0usize..3,
    ) {
        let (name, n) = (RANDOM[which], labels.len());
        let (embeddings, supervision) = (rows(n, 3, seed), Supervision::Labels(labels.clone()));
        let batch = Batch::new(&embeddings, &supervision);
        let params = if name == "uniform_histogram" { json!({"num_bins": 5}) } else { json!({"cutoff": 0.1, "nonzero_loss_cutoff": 1.9}) };
        let make = || miner(name, params.clone(), seed);
        let mut first = make();
        let (one, two) = (first.mine(&batch).unwrap(), first.mine(&batch).unwrap());

        let mut again = make();
        prop_assert_eq!(&again.mine(&batch).unwrap(), &one);
        let mut resumed = make();
        resumed.load_state(&again.state().unwrap().into_iter().collect()).unwrap();
        prop_assert_eq!(resumed.mine(&batch).unwrap(), two);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        prop_assert_eq!(alone.install(|| make().mine(&batch).unwrap()), one.clone());

        let class = |i: u32| labels[i as usize];
        match one {
            Tuples::Pairs { positives, negatives } => {
                prop_assert!(positives.iter().all(|&(a, p)| a != p && class(a) == class(p)));
                prop_assert!(negatives.iter().all(|&(a, n)| class(a) != class(n)));
                let some = |same: bool| (0..n).any(|i| (0..n).any(|j| i != j && (labels[i] == labels[j]) == same));
                prop_assert_eq!((!positives.is_empty(), !negatives.is_empty()), (some(true), some(false)));
                prop_assert!(positives.len() <= 50 && positives.len() % 10 == 0);
            }
            Tuples::Triplets(triplets) => {
                for [a, p, n] in triplets {
                    prop_assert!(a != n && class(a) == class(p));
                    let pushed = name == "rho_distance" && class(n) == class(a);
                    prop_assert!(if pushed { p == a } else { p != a && class(n) != class(a) }, "{:?}", [a, p, n]);
                }
            }
        }
    }

    #[test]
    fn miners_take_the_same_from_labels_and_from_a_matrix(
        labels in prop::collection::vec(0u64..3, 3..12),
        which in 0usize..12,
    ) {
        let spec = &MINERS[which];
        let n = labels.len() / 3 * 3;
        let embeddings = rows(n, 4, 5);
        let pairs: Vec<i8> = (0..n * n).map(|k| i8::from(labels[k / n] == labels[k % n])).collect();
        let (by_label, by_pair) = (Supervision::Labels(labels[..n].to_vec()), Supervision::Pairs(Arc::from(pairs)));
        let mine = |supervision| miner(spec.name, Value::Null, 3).mine(&Batch::new(&embeddings, supervision)).unwrap();
        prop_assert_eq!(mine(&by_label), mine(&by_pair), "{}", spec.name);
    }
}

/// Negatives at five distances: drawn in proportion to `1/q`, by χ² (4 degrees of freedom, 1 in 10⁵ beyond 28.5).
#[test]
fn distance_weighted_frequencies() {
    let angles = [0.0f64, 0.1, 0.8, 1.0, 1.15, 1.3, 1.4];
    let values: Vec<f64> = angles.iter().flat_map(|t| [t.cos(), t.sin(), 0.0, 0.0]).collect();
    let embeddings = Tensor::from_vec(values, (7, 4), &Device::Cpu).unwrap();
    let supervision = Supervision::Labels(vec![0, 0, 1, 2, 3, 4, 5]);
    let mut miner = miner("distance_weighted", json!({}), 11);
    let mut counts = [0f64; 7];
    for _ in 0..4000 {
        let Tuples::Triplets(triplets) = miner.mine(&Batch::new(&embeddings, &supervision)).unwrap() else { panic!() };
        assert_eq!(triplets.len(), 4, "two anchors with a class of two");
        triplets.iter().filter(|t| t[0] == 0).for_each(|t| counts[t[2] as usize] += 1.0);
    }
    let weight = |t: f64| {
        let d = 2.0 * (t / 2.0).sin();
        d.powi(-2) * (1.0 - d * d / 4.0).powf(-0.5)
    };
    let total: f64 = angles[2..].iter().map(|&t| weight(t)).sum();
    let expected = |j: usize| weight(angles[j]) / total * counts.iter().sum::<f64>();
    let chi: f64 = (2..7).map(|j| (counts[j] - expected(j)).powi(2) / expected(j)).sum();
    assert!(chi < 28.5, "χ² is {chi}: {counts:?}");
}

#[test]
fn rho_is_the_share_of_pushed_positives() {
    let (embeddings, supervision) = (rows(9, 6, 1), Supervision::Labels(vec![0, 0, 0, 1, 1, 1, 2, 2, 2]));
    let mut miner = miner("rho_distance", json!({"rho": 0.3, "nonzero_loss_cutoff": 2.0}), 2);
    let (mut pushed, mut all) = (0, 0);
    for _ in 0..500 {
        let Tuples::Triplets(triplets) = miner.mine(&Batch::new(&embeddings, &supervision)).unwrap() else { panic!() };
        pushed += triplets.iter().filter(|[a, p, _]| a == p).count();
        all += triplets.len();
    }
    assert_eq!(all, 500 * 9 * 3);
    let share = pushed as f64 / all as f64;
    assert!((share - 0.3).abs() < 0.02, "{share}");
}

#[test]
fn uniform_histogram_draws_evenly_from_bins() {
    // Positive distances 0, 1 and 1 (each both ways): two bins of which each gives ten.
    let embeddings = Tensor::new(&[[0f32, 0.0], [0.0, 0.0], [1.0, 0.0]], &Device::Cpu).unwrap();
    let supervision = Supervision::Labels(vec![0; 3]);
    let mut miner = miner("uniform_histogram", json!({"num_bins": 2, "normalize": false}), 4);
    let mut counts: HashMap<(u32, u32), f64> = HashMap::new();
    for _ in 0..500 {
        let found = miner.mine(&Batch::new(&embeddings, &supervision)).unwrap();
        let Tuples::Pairs { positives, negatives } = found else { panic!() };
        assert_eq!((positives.len(), negatives.len()), (20, 0));
        positives.into_iter().for_each(|pair| *counts.entry(pair).or_default() += 1.0);
    }
    for (pair, count) in &counts {
        let expected = if pair.0 < 2 && pair.1 < 2 { 2500.0 } else { 1250.0 };
        assert!((count - expected).abs() < 0.1 * expected, "{pair:?}: {count}");
    }
    assert_eq!(counts.len(), 6);
}

#[test]
fn an_anchor_is_no_positive_of_its_own_entry_among_references() {
    let (all, supervision) = (rows(8, 4, 9), Supervision::Labels(vec![0, 0, 1, 1, 0, 1, 0, 1]));
    let (batch, labels) = (all.narrow(0, 4, 4).unwrap(), Supervision::Labels(vec![0, 1, 0, 1]));
    let references = Some(References { embeddings: &all, supervision: &supervision, self_offset: Some(4) });
    for spec in MINERS.iter().filter(|spec| !["packaged_triplets", "rho_distance"].contains(&spec.name)) {
        let found =
            miner(spec.name, Value::Null, 0).mine(&Batch { references, ..Batch::new(&batch, &labels) }).unwrap();
        let own = |a: u32, j: u32| j == a + 4;
        match found {
            Tuples::Triplets(t) => assert!(t.iter().all(|&[a, p, n]| !own(a, p) && !own(a, n)), "{}", spec.name),
            Tuples::Pairs { positives, negatives } => {
                assert!(positives.iter().chain(&negatives).all(|&(a, j)| !own(a, j)), "{}", spec.name);
            }
        }
    }
}

#[test]
fn settings_without_meaning_are_refused_by_name() {
    let refused = |name: &str, params: Value| -> String { MinerConfig::new(name, &params).unwrap_err().to_string() };
    for (name, params, words) in [
        ("batch_hrad", json!({}), ["batch_hrad", "use one of angular"]),
        ("batch_hard", json!({"margin": 1}), ["miner batch_hard", "unknown field `margin`"]),
        ("batch_hard", json!({"metric": "l2"}), ["miner batch_hard", "l2"]),
        ("angular", json!({"angle": 120}), ["angle is 120", "0 to 90"]),
        ("angular", json!({"metric": "cosine"}), ["metric is cosine", "want euclidean"]),
        ("hdc", json!({"filter_percentage": 0}), ["filter_percentage is 0", "above 0"]),
        ("n_hard", json!({"positive_ranks": [2, 2]}), ["positive_ranks is [2, 2]", "want"]),
        ("distance_weighted", json!({"cutoff": 1.5}), ["nonzero_loss_cutoff is 1.4", "1.5"]),
        ("rho_distance", json!({"rho": 1.5}), ["rho is 1.5", "0 to 1"]),
        ("batch_easy_hard", json!({"positive": "semi_hard"}), ["semi_hard", "easy or hard"]),
        ("batch_easy_hard", json!({"negative_range": [1, 0]}), ["negative_range is [1, 0]", "lower end"]),
        ("uniform_histogram", json!({"num_bins": 0}), ["num_bins is 0", "want"]),
    ] {
        let message = refused(name, params);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    let config: MinerConfig = serde_json::from_value(json!({"name": "n_hard", "negative_ranks": [0, 3]})).unwrap();
    let text = serde_json::to_value(&config).unwrap();
    assert_eq!(text["name"], "n_hard");
    assert_eq!(serde_json::from_value::<MinerConfig>(text).unwrap(), config);
    let message = serde_json::from_value::<MinerConfig>(json!({"nam": "n_hard"})).unwrap_err().to_string();
    assert!(message.contains("no name"), "{message}");
}

#[test]
fn what_is_not_a_number_is_an_error_and_not_a_smaller_list() {
    let embeddings = Tensor::new(&[[1f32, 0.0], [f32::NAN, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let supervision = Supervision::Labels(vec![0, 0, 1]);
    for spec in MINERS.iter().filter(|spec| spec.name != "packaged_triplets") {
        let found = miner(spec.name, Value::Null, 0).mine(&Batch::new(&embeddings, &supervision));
        assert!(matches!(found, Err(Error::NotNumbers { .. })), "{}: {found:?}", spec.name);
    }
}

#[test]
fn nothing_to_mine_gives_empty_lists() {
    for labels in [vec![0, 1, 2], vec![5, 5, 5], vec![]] {
        let (embeddings, supervision) = (rows(labels.len(), 4, 0), Supervision::Labels(labels.clone()));
        for spec in MINERS.iter().filter(|spec| spec.name != "packaged_triplets") {
            let found = miner(spec.name, Value::Null, 0).mine(&Batch::new(&embeddings, &supervision)).unwrap();
            if let Tuples::Triplets(triplets) = found {
                let pushed = spec.name == "rho_distance";
                assert!(triplets.iter().all(|t| pushed && t[0] == t[1]), "{} {labels:?}", spec.name);
            }
        }
    }
}
