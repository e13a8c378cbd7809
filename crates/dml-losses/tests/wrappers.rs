//! What goes around a loss: memory, miner, beginnings, views, sums; and the configuration of all of it.

mod cases;

use candle_core::{DType, Tensor, Var};
use cases::{context, embeddings};
use dml_losses::wrappers::{Matryoshka, MatryoshkaConfig, Mined, MultipleLosses, SelfSupervised, SelfSupervisedConfig};
use dml_losses::{
    Batch, Context, CrossBatchMemory, MemoryConfig, MinerConfig, Objective, References, Supervision, build,
    build_with_memory,
};
use dml_testkit::{Tolerance, check_gradient};
use serde_json::{Value, json};
use std::collections::HashMap;

const DIM: usize = 6;

fn number(loss: &Tensor) -> f64 {
    loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn contrastive() -> Box<dyn Objective> {
    build("contrastive", &json!({"neg_margin": 1.5}), &context(DIM, 4)).unwrap()
}

fn miner(config: Value) -> Box<dyn dml_losses::Miner> {
    serde_json::from_value::<MinerConfig>(config).unwrap().build(&context(DIM, 4)).unwrap()
}

/// Batches of four.
fn batch(k: u64) -> (Tensor, Vec<u64>) {
    let labels = vec![k % 3, k % 3, (k + 1) % 3, (k + 1) % 3];
    (embeddings(&labels, DIM, k + 1), labels)
}

fn memory(config: MemoryConfig) -> CrossBatchMemory {
    CrossBatchMemory::new(contrastive(), config, &context(DIM, 4)).unwrap()
}

/// By hand: the loss of a batch against the last `size` embeddings, itself the newest.
fn against(past: &[(Tensor, Vec<u64>)], size: usize) -> f64 {
    let all = Tensor::cat(&past.iter().map(|(x, _)| x.clone()).collect::<Vec<_>>(), 0).unwrap();
    let labels: Vec<u64> = past.iter().flat_map(|(_, labels)| labels.clone()).collect();
    let held = size.min(labels.len());
    let all = all.narrow(0, labels.len() - held, held).unwrap();
    let held_labels = Supervision::Labels(labels[labels.len() - held..].to_vec());
    let (x, labels) = past.last().unwrap();
    let references = References { embeddings: &all, supervision: &held_labels, self_offset: Some(held - labels.len()) };
    let supervision = Supervision::Labels(labels.clone());
    let batch = Batch { references: Some(references), ..Batch::new(x, &supervision) };
    number(&contrastive().evaluate(&batch).unwrap().loss)
}

#[test]
fn a_memory_warms_up_wraps_around_and_forgets() {
    let config = MemoryConfig { size: 10, start_step: 2, weight: 0.5, batch_weight: 2.0 };
    let mut loss = memory(config);
    let mut past = Vec::new();
    for k in 0..7 {
        let (x, labels) = batch(k);
        past.push((x.clone(), labels.clone()));
        let within = number(&contrastive().loss(&x, &labels).unwrap());
        let expected = if k < 2 { within } else { 0.5 * against(&past, 10) + 2.0 * within };
        let got = number(&loss.loss(&x, &labels).unwrap());
        assert!((got - expected).abs() < 1e-12, "step {k}: {got} {expected}");
        assert_eq!(loss.len(), (4 * (k as usize + 1)).min(10));
    }
    loss.reset();
    assert!(loss.is_empty());
    let (x, labels) = batch(9);
    let within = number(&contrastive().loss(&x, &labels).unwrap());
    assert!((number(&loss.loss(&x, &labels).unwrap()) - 2.5 * within).abs() < 1e-12);
}

#[test]
fn a_memory_is_restored_whole_at_every_step() {
    for dtype in [DType::F64, DType::F32] {
        let make = || {
            let base = Mined::new(contrastive(), miner(json!({"name": "uniform_histogram", "num_bins": 4}))).unwrap();
            let config = MemoryConfig { size: 10, start_step: 1, ..MemoryConfig::default() };
            CrossBatchMemory::new(Box::new(base), config, &context(DIM, 4)).unwrap()
        };
        let mut whole = make();
        for k in 0..6 {
            let mut restored = make();
            let state: HashMap<String, Tensor> = whole.state().unwrap().into_iter().collect();
            restored.load_state(&state).unwrap();
            let (x, labels) = batch(k);
            let x = x.to_dtype(dtype).unwrap();
            let (a, b) = (whole.loss(&x, &labels).unwrap(), restored.loss(&x, &labels).unwrap());
            assert_eq!((number(&a), restored.len()), (number(&b), whole.len()), "step {k}");
            let kept = |loss: &CrossBatchMemory| {
                let state = loss.state().unwrap().into_iter();
                state.map(|(name, t)| (name, format!("{:?} {t}", t.dtype()))).collect::<Vec<_>>()
            };
            assert_eq!(kept(&whole), kept(&restored));
        }
    }
}

#[test]
fn a_memory_holds_copies_without_gradient() {
    let mut loss = memory(MemoryConfig { size: 8, batch_weight: 0.0, ..MemoryConfig::default() });
    let (first, labels) = batch(0);
    let var = Var::from_tensor(&first).unwrap();
    loss.loss(&var, &labels).unwrap();
    // What the optimiser does to the tensor does not reach the memory.
    var.set(&first.zeros_like().unwrap()).unwrap();
    let (second, others) = batch(1);
    let x = Var::from_tensor(&second).unwrap();
    let value = loss.loss(&x, &others).unwrap();
    let expected = against(&[(first, labels), (second.clone(), others.clone())], 8);
    assert!((number(&value) - expected).abs() < 1e-12);
    let gradients = value.backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&var).is_none());
}

#[test]
fn a_memory_that_does_not_fit_is_refused() {
    let refused = |config: MemoryConfig| {
        CrossBatchMemory::new(contrastive(), config, &context(DIM, 4)).err().unwrap().to_string()
    };
    assert!(refused(MemoryConfig { size: 0, ..MemoryConfig::default() }).contains("memory: size is 0"));
    assert!(refused(MemoryConfig { weight: -1.0, ..MemoryConfig::default() }).contains("weight is -1"));
    let none = MemoryConfig { weight: 0.0, batch_weight: 0.0, ..MemoryConfig::default() };
    assert!(refused(none).contains("both 0"));
    let proxies = build_with_memory("arc_face", &Value::Null, &MemoryConfig::default(), &context(DIM, 4));
    assert!(proxies.err().unwrap().to_string().contains("such as contrastive"));
    let views = build_with_memory("vic_reg", &Value::Null, &MemoryConfig::default(), &context(DIM, 4));
    assert!(views.err().unwrap().to_string().contains("two views"));
    let (x, labels) = batch(0);
    let small = memory(MemoryConfig { size: 3, ..MemoryConfig::default() }).loss(&x, &labels).unwrap_err().to_string();
    assert!(small.contains("size is 3") && small.contains("4 rows"), "{small}");
    let mut full = memory(MemoryConfig::default());
    full.loss(&x, &labels).unwrap();
    let state: HashMap<String, Tensor> = full.state().unwrap().into_iter().collect();
    let smaller = memory(MemoryConfig { size: 3, ..MemoryConfig::default() }).load_state(&state);
    assert!(smaller.unwrap_err().to_string().contains("size 3"));
    let empty = memory(MemoryConfig::default()).load_state(&HashMap::new());
    assert!(empty.unwrap_err().to_string().contains("memory.counters is missing"));
}

#[test]
fn a_miner_works_against_the_memory() {
    let config = MemoryConfig { size: 12, batch_weight: 0.0, ..MemoryConfig::default() };
    let mined = Mined::new(contrastive(), miner(json!({"name": "batch_hard"}))).unwrap();
    let mut loss = CrossBatchMemory::new(Box::new(mined), config, &context(DIM, 4)).unwrap();
    let past: Vec<(Tensor, Vec<u64>)> = (0..3).map(batch).collect();
    let values: Vec<f64> = past.iter().map(|(x, labels)| number(&loss.loss(x, labels).unwrap())).collect();
    // By hand, of unit vectors: the furthest positive and the nearest negative of each row among all twelve.
    let rows = |x: &Tensor| dml_core::l2_normalize(x).unwrap().to_vec2::<f64>().unwrap();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let all: Vec<(Vec<f64>, u64)> =
        past.iter().flat_map(|(x, labels)| rows(x).into_iter().zip(labels.clone())).collect();
    let (mut pull, mut push) = (Vec::new(), Vec::new());
    for i in 8..12 {
        let of = |same: bool| -> Vec<f64> {
            let others = all.iter().enumerate().filter(|&(j, b)| j != i && (b.1 == all[i].1) == same);
            others.map(|(_, b)| distance(&all[i].0, &b.0)).collect()
        };
        pull.push(of(true).into_iter().fold(0.0, f64::max));
        push.push((1.5 - of(false).into_iter().fold(9.0, f64::min)).max(0.0));
    }
    let mean = |terms: &[f64]| {
        let kept: Vec<f64> = terms.iter().copied().filter(|&t| t > 0.0).collect();
        kept.iter().sum::<f64>() / kept.len().max(1) as f64
    };
    assert!((values[2] - mean(&pull) - mean(&push)).abs() < 1e-10, "{values:?}");
}

#[test]
fn a_sum_of_losses_is_their_weighted_sum() {
    let (x, labels) = batch(3);
    let proxies = || build("arc_face", &Value::Null, &context(DIM, 4)).unwrap();
    let mut both = MultipleLosses::new(vec![(0.5, contrastive()), (2.0, proxies())]).unwrap();
    let expected =
        0.5 * number(&contrastive().loss(&x, &labels).unwrap()) + 2.0 * number(&proxies().loss(&x, &labels).unwrap());
    assert!((number(&both.loss(&x, &labels).unwrap()) - expected).abs() < 1e-10);
    check_gradient("sum", &x, Tolerance::of_largest(1e-6), |x| both.loss(x, &labels));
    assert_eq!(both.parameters().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["1.proxies"]);
    assert!(!both.takes_references() && both.takes_tuples());
    assert!(MultipleLosses::new(Vec::new()).is_err());
    // State goes to its own part.
    let part =
        |size: usize| -> Box<dyn Objective> { Box::new(memory(MemoryConfig { size, ..MemoryConfig::default() })) };
    let make = || MultipleLosses::new(vec![(1.0, part(4)), (1.0, part(9))]).unwrap();
    let (mut first, mut second) = (make(), make());
    (0..3).for_each(|k| drop(first.loss(&batch(k).0, &batch(k).1).unwrap()));
    second.load_state(&first.state().unwrap().into_iter().collect()).unwrap();
    assert_eq!(number(&first.loss(&x, &labels).unwrap()), number(&second.loss(&x, &labels).unwrap()));
}

fn matryoshka(config: Value, name: &str) -> Matryoshka {
    let config: MatryoshkaConfig = serde_json::from_value(config).unwrap();
    Matryoshka::new(&config, &context(DIM, 4), |context| build(name, &Value::Null, context)).unwrap()
}

#[test]
fn beginnings_are_weighed_and_normalised() {
    let (x, labels) = batch(2);
    for normalize in [true, false] {
        let config = json!({"dims": [2, 6, 3], "weights": [1.0, 0.5, 0.25], "normalize": normalize});
        // On products, where lengths matter.
        let build = |context: &Context| {
            build("contrastive", &json!({"metric": "dot", "normalize": false, "pos_margin": 4}), context)
        };
        let mut loss = Matryoshka::new(&serde_json::from_value(config).unwrap(), &context(DIM, 4), build).unwrap();
        let one = |dim: usize| {
            let short = x.narrow(1, 0, dim).unwrap();
            let short = if normalize { dml_core::l2_normalize(&short).unwrap() } else { short };
            number(&build(&context(dim, 4)).unwrap().loss(&short, &labels).unwrap())
        };
        let expected = one(2) + 0.5 * one(6) + 0.25 * one(3);
        let got = number(&loss.loss(&x, &labels).unwrap());
        assert!((got - expected).abs() < 1e-10, "{normalize}: {got} {expected}");
        check_gradient("beginnings", &x, Tolerance::of_largest(1e-6), |x| loss.loss(x, &labels));
    }
    let proxies = matryoshka(json!({"dims": [2, 6]}), "arc_face");
    let shapes = proxies.parameters().into_iter().map(|(name, var)| (name, var.dims().to_vec()));
    assert_eq!(
        shapes.collect::<Vec<_>>(),
        [("6.proxies".to_owned(), vec![4, 6]), ("2.proxies".to_owned(), vec![4, 2])]
    );
    // Against a memory: one memory of whole embeddings around all lengths.
    let mut within = CrossBatchMemory::new(
        Box::new(matryoshka(json!({"dims": [2, 6]}), "contrastive")),
        MemoryConfig::default(),
        &context(DIM, 4),
    );
    within.as_mut().unwrap().loss(&x, &labels).unwrap();
}

#[test]
fn some_beginnings_are_drawn_and_the_draw_is_restored() {
    let (x, labels) = batch(2);
    let config = json!({"dims": [6, 5, 4, 3, 2], "dims_per_step": 2});
    let (mut whole, mut again) = (matryoshka(config.clone(), "contrastive"), matryoshka(config.clone(), "contrastive"));
    let values: Vec<f64> = (0..8).map(|_| number(&whole.loss(&x, &labels).unwrap())).collect();
    assert!(values.iter().any(|v| *v != values[0]));
    (0..4).for_each(|k| assert_eq!(number(&again.loss(&x, &labels).unwrap()), values[k]));
    let mut restored = matryoshka(config, "contrastive");
    restored.load_state(&again.state().unwrap().into_iter().collect()).unwrap();
    (4..8).for_each(|k| assert_eq!(number(&restored.loss(&x, &labels).unwrap()), values[k]));
    for (config, word) in [
        (json!({"dims": []}), "dims is empty"),
        (json!({"dims": [8]}), "want 1 to 6"),
        (json!({"dims": [2, 2]}), "each length once"),
        (json!({"dims": [2], "weights": [1, 2]}), "2 weights for 1 dims"),
        (json!({"dims": [2], "weights": [-1]}), "weights has -1"),
        (json!({"dims": [2], "dims_per_step": 2}), "dims_per_step is 2"),
    ] {
        let config: MatryoshkaConfig = serde_json::from_value(config).unwrap();
        let error = Matryoshka::new(&config, &context(DIM, 4), |_| Ok(contrastive())).err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn views_are_positives_of_each_other() {
    let labels = [0, 1, 2, 3];
    let (x, y) = (embeddings(&labels, DIM, 1), embeddings(&labels, DIM, 2));
    let (own, all) = (Supervision::Labels(labels.to_vec()), [labels, labels].concat());
    let loss = |symmetric| SelfSupervised::new(contrastive(), SelfSupervisedConfig { symmetric }).unwrap();
    let both = Tensor::cat(&[&x, &y], 0).unwrap();
    let symmetric = number(&contrastive().loss(&both, &all).unwrap());
    let references = Some(References { embeddings: &y, supervision: &own, self_offset: None });
    let one_sided = number(&contrastive().evaluate(&Batch { references, ..Batch::new(&x, &own) }).unwrap().loss);
    for (which, expected) in [(true, symmetric), (false, one_sided)] {
        let got = number(&loss(which).views(&x, &y).unwrap().loss);
        assert!((got - expected).abs() < 1e-12, "{which}: {got} {expected}");
        check_gradient("first view", &x, Tolerance::of_largest(1e-6), |x| loss(which).views(x, &y).map(|e| e.loss));
        check_gradient("second view", &y, Tolerance::of_largest(1e-6), |y| loss(which).views(&x, y).map(|e| e.loss));
    }
    // Two other views of each.
    let more = Tensor::cat(&[&y, &x], 0).unwrap();
    assert!(number(&loss(true).views(&x, &more).unwrap().loss).is_finite());
    assert!(loss(true).views(&x, &y.narrow(0, 0, 3).unwrap()).unwrap_err().to_string().contains("4 rows and 3"));
    assert!(loss(true).loss(&x, &labels).unwrap_err().to_string().contains("second one"));
    let proxies = build("arc_face", &Value::Null, &context(DIM, 4)).unwrap();
    assert!(SelfSupervised::new(proxies, SelfSupervisedConfig { symmetric: false }).is_err());
}
