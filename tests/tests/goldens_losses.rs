//! Every loss of the registry against pytorch-metric-learning in double precision, on hard little batches, and the memory
//! around the losses that take one. `tests/golden/README.md` says where the numbers come from.

use candle_core::{DType, Device, Tensor, Var};
use dml_losses::{Context, LOSSES, MemoryConfig, Objective, build, build_with_memory};
use dml_testkit::{Case, Tolerance, assert_close, load_goldens};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A small loss is a difference of distances near 1, which have seven digits.
const VALUE: Tolerance = Tolerance::elementwise(1e-6, 1e-5);
/// Of the largest entry.
const GRADIENT: Tolerance = Tolerance::of_largest(1e-5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/losses")
}

fn goldens(file: &str) -> Vec<Case> {
    load_goldens(&folder().join(file).with_extension("safetensors")).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn context(dim: usize, classes: usize) -> Context {
    Context { dim, classes, seed: 0, device: Device::Cpu }
}

/// The loss of one batch, with its value and its gradients compared with those that `case` has under `prefix`.
fn check(what: &str, objective: &mut dyn Objective, (x, labels): (&Tensor, &[u32]), case: &Case, prefix: &str) {
    let x = Var::from_tensor(x).unwrap();
    let loss = objective.loss(&x, labels).unwrap_or_else(|error| panic!("{what}: {error}"));
    let gradients = loss.backward().unwrap();
    let compare = |name: &str, got: &Tensor, tolerance: Tolerance| {
        let want = case.tensor(&format!("{prefix}/{name}")).unwrap();
        let got = got.to_dtype(DType::F64).unwrap().reshape(want.shape()).unwrap();
        assert_close(&format!("{what}: {name}"), &got, want, tolerance);
    };
    compare("value", &loss, VALUE);
    compare("gradient", gradients.get(&x).expect("a gradient at the embeddings"), GRADIENT);
    for (name, var) in objective.parameters() {
        compare(&format!("{name}_gradient"), gradients.get(&var).expect("a gradient at the parameter"), GRADIENT);
    }
}

/// As JSON, up to the rounding of a default such as 0.05 to `f32`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap() as f32 == b.as_f64().unwrap() as f32,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

#[test]
fn every_loss_equals_its_reference() {
    let batches = goldens("batches");
    for spec in LOSSES {
        let cases = goldens(spec.name);
        assert!(cases.len() >= 3, "{}: {} parameter sets, want 3 or more", spec.name, cases.len());
        for case in &cases {
            for batch in &batches {
                let (x, proxies) = (batch.tensor("embeddings").unwrap(), batch.tensor("proxies").unwrap());
                let context = context(x.dims()[1], proxies.dims()[0]);
                let mut objective = build(spec.name, case.params(), &context).unwrap();
                for (_, var) in objective.parameters() {
                    var.set(proxies).unwrap();
                }
                let what = format!("{} ({}) on {}", spec.name, case.name, batch.name);
                check(&what, objective.as_mut(), (x, &batch.labels("labels").unwrap()), case, &batch.name);
            }
        }
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    for spec in LOSSES {
        let cases = goldens(spec.name);
        let default = cases.iter().find(|case| case.name == "default").expect("a case of defaults");
        let ours = (spec.default_params)();
        assert!(same(&ours, default.params()), "{}: {ours} here, {} there", spec.name, default.params());
    }
}

#[test]
fn no_golden_is_left_over() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let losses = LOSSES.iter().map(|loss| loss.name).chain(["batches", "memory"]).map(str::to_owned).collect();
    assert_eq!(files, losses);
}

#[test]
fn memories_equal_their_reference() {
    let cases = goldens("memory");
    for case in &cases {
        let memory: MemoryConfig = serde_json::from_value(case.description["memory"].clone()).unwrap();
        let name = case.description["loss"].as_str().unwrap();
        let mut steps = 0;
        while case.has(&format!("{steps}/embeddings")) {
            steps += 1;
        }
        assert!(steps >= 4, "{}: {steps} steps do not overrun the memory", case.name);
        let dim = case.tensor("0/embeddings").unwrap().dims()[1];
        let mut objective = build_with_memory(name, case.params(), &memory, &context(dim, 0)).unwrap();
        for step in 0..steps {
            let x = case.tensor(&format!("{step}/embeddings")).unwrap();
            let labels = case.labels(&format!("{step}/labels")).unwrap();
            check(&format!("{} step {step}", case.name), objective.as_mut(), (x, &labels), case, &step.to_string());
        }
    }
    let wrapped: BTreeSet<&str> = cases.iter().map(|case| case.description["loss"].as_str().unwrap()).collect();
    for spec in LOSSES {
        let takes_memory = build_with_memory(spec.name, &Value::Null, &MemoryConfig::default(), &context(2, 2)).is_ok();
        assert_eq!(takes_memory, wrapped.contains(spec.name), "{} has no golden with a memory", spec.name);
    }
}
