//! Every loss of the registry against pytorch-metric-learning or its paper in double precision, on hard little batches, in
//! both its forms and both float types. `tests/golden/README.md` says where the numbers come from.

mod cases;

use candle_core::{DType, Tensor};
use cases::{Owned, context, goldens, losses, run, set_inputs};
use dml_losses::{Kernel, LOSSES, MemoryConfig, build, build_with_memory};
use dml_testkit::close::to_f64;
use dml_testkit::{Case, Tolerance, compare};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a golden holds of a tensor: all of it, or its first rows and its norm.
fn check_tensor(what: &str, case: &Case, name: &str, got: &Tensor, tolerance: Tolerance, wrong: &mut Vec<String>) {
    let mut compare_with = |label: &str, got: &Tensor, want: &Tensor| {
        let got = got.reshape(want.shape()).unwrap_or_else(|_| panic!("{what}: {label} has shape {:?}", got.dims()));
        let (got, want) = (to_f64(&got).unwrap(), (to_f64(want).unwrap(), want.dims()));
        if let Err(difference) = compare(&got, &want.0, want.1, tolerance) {
            wrong.push(format!("{what}: {label}: {difference}"));
        }
    };
    if case.has(name) {
        compare_with(name, got, case.tensor(name).unwrap());
        return;
    }
    let head = case.tensor(&format!("{name}_head")).unwrap_or_else(|_| panic!("{what}: no golden {name}"));
    compare_with(name, &got.narrow(0, 0, head.dim(0).unwrap()).unwrap(), head);
    let norm = got.sqr().unwrap().sum_all().unwrap().sqrt().unwrap().reshape(1).unwrap();
    compare_with(&format!("{name}'s norm"), &norm, case.tensor(&format!("{name}_norm")).unwrap());
}

#[test]
fn every_loss_equals_its_reference() {
    let batches = goldens("losses/batches");
    let mut wrong = Vec::new();
    for spec in losses() {
        let cases = goldens(&format!("losses/{}", spec.name));
        // One set is all there is of a loss without parameters.
        let wanted = if (spec.default_params)().as_object().is_some_and(|params| params.is_empty()) { 1 } else { 3 };
        assert!(cases.len() >= wanted, "{}: {} parameter sets, want {wanted} or more", spec.name, cases.len());
        let mut compared = 0;
        for (case, batch) in cases.iter().flat_map(|case| batches.iter().map(move |batch| (case, batch))) {
            let value = format!("{}/value", batch.name);
            let undefined = case.description["undefined"].get(&batch.name).is_some();
            if !case.has(&value) && !undefined {
                continue;
            }
            let owned = Owned::from_golden(batch);
            let beta = format!("{}/beta", batch.name);
            let classes = if batch.has("proxies") {
                batch.tensor("proxies").unwrap().dims()[0]
            } else if case.has(&beta) {
                case.tensor(&beta).unwrap().dims()[0]
            } else {
                8
            };
            let dim = owned.embeddings.dims()[1];
            // Single precision is held to its digits, but where an entry's rounding decides what counts.
            for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F32, 1e-4)] {
                for kernel in [Kernel::Auto, Kernel::Composed] {
                    let context = dml_losses::Context { kernel, dtype, ..context(dim, classes) };
                    let what = format!("{} ({}) on {} in {dtype:?}, {kernel:?}", spec.name, case.name, batch.name);
                    let mut objective =
                        build(spec.name, case.params(), &context).unwrap_or_else(|error| panic!("{what}: {error}"));
                    set_inputs(objective.as_mut(), case, batch);
                    let outcome = match run(objective.as_mut(), &owned, dtype) {
                        Ok(outcome) => outcome,
                        Err(error) => {
                            wrong.push(format!("{what}: {error}"));
                            continue;
                        }
                    };
                    if undefined || (dtype == DType::F32 && fragile(&batch.name)) {
                        let finite = |(_, t): &(String, Tensor)| to_f64(t).unwrap().iter().all(|v| v.is_finite());
                        if !outcome.all().iter().all(finite) {
                            wrong.push(format!("{what}: not finite"));
                        }
                        continue;
                    }
                    let near = Tolerance { absolute: tolerance * 1e-2, ..Tolerance::of_largest(tolerance) };
                    let value_near = Tolerance::elementwise(tolerance * 0.1, tolerance);
                    check_tensor(&what, case, &value, &outcome.value, value_near, &mut wrong);
                    let name = |suffix: &str| format!("{}/{suffix}", batch.name);
                    check_tensor(&what, case, &name("gradient"), &outcome.gradient, near, &mut wrong);
                    if let Some(gradient) = &outcome.references_gradient {
                        check_tensor(&what, case, &name("references_gradient"), gradient, near, &mut wrong);
                    }
                    for (parameter, gradient) in &outcome.parameters {
                        let parameter = name(&format!("{parameter}_gradient"));
                        check_tensor(&what, case, &parameter, gradient, near, &mut wrong);
                    }
                    compared += 1;
                }
            }
        }
        assert!(compared >= 12, "{}: only {compared} results were compared", spec.name);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Batches where the rounding of single precision decides which terms count: equal rows, whose distance is 0 or nearly so.
fn fragile(batch: &str) -> bool {
    ["6x5_identical", "8x6_duplicates", "8x6_antipodal", "8x6_zero_row"].contains(&batch)
}

/// As JSON, up to the type of a number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    for spec in losses() {
        let cases = goldens(&format!("losses/{}", spec.name));
        let default = cases.iter().find(|case| case.name == "default").expect("a case of defaults");
        let ours = (spec.default_params)();
        assert!(same(&ours, default.params()), "{}: {ours} here, {} there", spec.name, default.params());
    }
}

#[test]
fn no_golden_is_left_over_or_missing() {
    let files = std::fs::read_dir(cases::golden_folder().join("losses")).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let losses = LOSSES.iter().map(|loss| loss.name).chain(["batches", "memory"]).map(str::to_owned).collect();
    assert_eq!(files, losses);
}

/// Steps of a loss with a memory or another state.
fn check_steps(case: &Case, objective: &mut dyn dml_losses::Objective, wrong: &mut Vec<String>) {
    let mut step = 0;
    while case.has(&format!("{step}/embeddings")) {
        let labels: Vec<u64> = case.labels(&format!("{step}/labels")).unwrap().into_iter().map(u64::from).collect();
        let batch = Owned::plain(case.tensor(&format!("{step}/embeddings")).unwrap().clone(), labels);
        let what = format!("{} step {step}", case.name);
        let outcome = run(objective, &batch, DType::F64).unwrap_or_else(|error| panic!("{what}: {error}"));
        let near = Tolerance::of_largest(1e-6);
        check_tensor(&what, case, &format!("{step}/value"), &outcome.value, near, wrong);
        check_tensor(&what, case, &format!("{step}/gradient"), &outcome.gradient, near, wrong);
        step += 1;
    }
    assert!(step >= 4, "{}: {step} steps do not overrun the memory", case.name);
}

#[test]
fn memories_equal_their_reference() {
    let mut wrong = Vec::new();
    for case in &goldens("losses/memory") {
        let memory: MemoryConfig = serde_json::from_value(case.description["memory"].clone()).unwrap();
        let name = case.description["loss"].as_str().unwrap();
        if !losses().any(|spec| spec.name == name) {
            continue;
        }
        let dim = case.tensor("0/embeddings").unwrap().dims()[1];
        for kernel in [Kernel::Auto, Kernel::Composed] {
            let context = dml_losses::Context { kernel, ..context(dim, 3) };
            let mut objective = build_with_memory(name, case.params(), &memory, &context).unwrap();
            check_steps(case, objective.as_mut(), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn states_equal_their_reference() {
    let mut wrong = Vec::new();
    for case in &goldens("states") {
        let name = case.description["loss"].as_str().unwrap();
        if !losses().any(|spec| spec.name == name) {
            continue;
        }
        let dim = case.tensor("0/embeddings").unwrap().dims()[1];
        for kernel in [Kernel::Auto, Kernel::Composed] {
            let classes = if case.has("proxies") { case.tensor("proxies").unwrap().dims()[0] } else { 3 };
            let context = dml_losses::Context { kernel, ..context(dim, classes) };
            let mut objective = build(name, case.params(), &context).unwrap();
            for (parameter, var) in objective.parameters() {
                var.set(&case.tensor(&parameter).unwrap().to_dtype(DType::F64).unwrap()).unwrap();
            }
            check_steps(case, objective.as_mut(), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
