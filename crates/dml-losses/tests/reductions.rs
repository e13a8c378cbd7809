//! Reductions from configurations, against pytorch-metric-learning's reducers; and which losses take one.

mod cases;

use candle_core::{DType, Tensor};
use cases::{Owned, context, embeddings, goldens, losses, pair_grades, run, set_inputs};
use dml_losses::{Batch, Context, Kernel, Objective, Reduction, ReductionConfig, Supervision, build};
use dml_testkit::{Tolerance, assert_close};
use serde_json::{Value, json};

#[test]
fn every_reduction_equals_its_reference() {
    let batches = goldens("losses/batches");
    let cases = goldens("reductions");
    let mut compared = 0;
    for (case, batch) in cases.iter().flat_map(|case| batches.iter().map(move |batch| (case, batch))) {
        let value = format!("{}/value", batch.name);
        let loss = case.description["loss"].as_str().unwrap();
        if !case.has(&value) || !losses().any(|spec| spec.name == loss) {
            continue;
        }
        let reduction: ReductionConfig = serde_json::from_value(case.description["reduction"].clone()).unwrap();
        let owned = Owned::from_golden(batch);
        let (classes, dim) = (batch.tensor("proxies").unwrap().dims()[0], owned.embeddings.dims()[1]);
        for kernel in [Kernel::Auto, Kernel::Composed] {
            let reduction = Some(reduction.reduction().unwrap());
            let mut objective =
                build(loss, case.params(), &Context { kernel, reduction, ..context(dim, classes) }).unwrap();
            set_inputs(objective.as_mut(), case, batch);
            let outcome = run(objective.as_mut(), &owned, DType::F64).unwrap();
            let what = format!("{} on {} {kernel:?}", case.name, batch.name);
            let check = |name: &str, got: &Tensor| {
                if case.has(name) {
                    let want = case.tensor(name).unwrap();
                    let got = got.reshape(want.shape()).unwrap_or_else(|_| panic!("{what}: {:?}", got.dims()));
                    assert_close(&format!("{what}: {name}"), &got, want, Tolerance::of_largest(1e-8));
                }
            };
            check(&value, &outcome.value);
            check(&format!("{}/gradient", batch.name), &outcome.gradient);
            for (parameter, gradient) in &outcome.parameters {
                check(&format!("{}/{parameter}_gradient", batch.name), gradient);
            }
            compared += 1;
        }
    }
    assert!(std::env::var("DML_LOSS").is_ok() || compared >= 200, "{compared}");
}

/// A batch that a loss takes, of labels or of graded pairs.
fn value(objective: &mut dyn Objective, x: &Tensor) -> Option<f64> {
    let labels = Supervision::Labels(vec![0, 0, 1, 1, 2, 2, 3, 3]);
    let graded = pair_grades(vec![0.9, 0.1, 0.5, 0.3]);
    let views = dml_losses::References { embeddings: x, supervision: &labels, self_offset: None };
    for (supervision, references) in [(&labels, None), (&labels, Some(views)), (&graded, None)] {
        if let Ok(evaluation) = objective.evaluate(&Batch { references, ..Batch::new(x, supervision) }) {
            return Some(evaluation.loss.sum_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap());
        }
    }
    None
}

#[test]
fn losses_say_whether_they_take_a_reduction() {
    let x = embeddings(&[0, 0, 1, 1, 2, 2, 3, 3], 4, 3);
    let mut wrong = Vec::new();
    for spec in losses() {
        let make = |reduction| build(spec.name, &Value::Null, &Context { reduction, ..context(4, 4) }).unwrap();
        let mut by_default = make(None);
        let (plain, takes) = (value(by_default.as_mut(), &x), by_default.takes_reduction());
        let divided = value(make(Some(Reduction::Divisor(977.0))).as_mut(), &x);
        let changes = plain != divided;
        if changes != takes {
            let name = spec.name;
            wrong.push(format!("{name}: takes_reduction is {takes}, yet {plain:?} and, over 977, {divided:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reductions_without_meaning_are_refused() {
    let read = |value: Value| -> Result<Reduction, String> {
        let config: ReductionConfig = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let text = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<ReductionConfig>(text).unwrap(), config);
        config.reduction().map_err(|e| e.to_string())
    };
    assert_eq!(read(json!("per_anchor")).unwrap(), Reduction::PerAnchor);
    let above = Reduction::Threshold { low: 0.5, high: f64::INFINITY };
    assert_eq!(read(json!({"threshold": {"low": 0.5}})).unwrap(), above);
    for (value, word) in [
        (json!("median"), "unknown variant `median`"),
        (json!({"threshold": {}}), "threshold has no end"),
        (json!({"threshold": {"low": 1, "high": 0}}), "want low below high"),
        (json!({"threshold": {"lo": 1}}), "unknown field `lo`"),
        (json!({"class_weighted": []}), "no weight above 0"),
        (json!({"class_weighted": [1, -2]}), "-2 for class 1"),
        (json!({"divisor": 0}), "divisor is 0"),
    ] {
        let message = read(value).unwrap_err();
        assert!(message.contains(word), "{message}");
    }
}
