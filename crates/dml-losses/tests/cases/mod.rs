//! What the tests of all losses share: the goldens, the modes of each loss, and how one is run.
#![allow(dead_code, reason = "each test binary uses its own part")]

use candle_core::{DType, Device, Tensor, Var};
use dml_core::rowwise::Statistics;
use dml_losses::{Batch, Context, Family, LOSSES, LossSpec, Objective, References, Supervision, Tuples};
use dml_testkit::{Case, load_goldens};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(crate) fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

pub(crate) fn goldens(file: &str) -> Vec<Case> {
    let path = golden_folder().join(file).with_extension("safetensors");
    load_goldens(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The losses under test: all, or those named in `DML_LOSS`, separated by commas.
pub(crate) fn losses() -> impl Iterator<Item = &'static LossSpec> {
    let only = std::env::var("DML_LOSS").ok();
    LOSSES.iter().filter(move |spec| only.as_ref().is_none_or(|only| only.split(',').any(|name| name == spec.name)))
}

/// The parameter sets of a loss: those of its goldens.
pub(crate) fn modes(loss: &str) -> Vec<Value> {
    goldens(&format!("losses/{loss}")).iter().map(|case| case.params().clone()).collect()
}

/// What a batch holds, as the tests own it.
#[derive(Clone)]
pub(crate) struct Owned {
    pub(crate) name: String,
    pub(crate) embeddings: Tensor,
    pub(crate) supervision: Supervision,
    pub(crate) references: Option<(Tensor, Supervision)>,
    pub(crate) tuples: Option<Tuples>,
}

impl Owned {
    pub(crate) fn plain(embeddings: Tensor, labels: Vec<u64>) -> Self {
        let name = format!("{} rows", labels.len());
        Self { name, embeddings, supervision: Supervision::Labels(labels), references: None, tuples: None }
    }

    pub(crate) fn from_golden(case: &Case) -> Self {
        let ids = |name: &str| -> Vec<u64> {
            let labels = case.tensor(name).unwrap().to_dtype(DType::I64).unwrap();
            labels.flatten_all().unwrap().to_vec1::<i64>().unwrap().into_iter().map(|label| label as u64).collect()
        };
        let list = |name: &str| case.labels(name).unwrap();
        let zip = |a: &str, b: &str| list(a).into_iter().zip(list(b)).collect::<Vec<_>>();
        let tuples = if case.has("anchors1") {
            Some(Tuples::Pairs { positives: zip("anchors1", "positives"), negatives: zip("anchors2", "negatives") })
        } else if case.has("anchors") {
            let negatives = list("negatives");
            let triplets = zip("anchors", "positives").into_iter().zip(negatives).map(|((a, p), n)| [a, p, n]);
            Some(Tuples::Triplets(triplets.collect()))
        } else {
            None
        };
        let references = case
            .has("ref_embeddings")
            .then(|| (case.tensor("ref_embeddings").unwrap().clone(), Supervision::Labels(ids("ref_labels"))));
        let supervision = if case.has("grades") {
            pair_grades(case.numbers("grades").unwrap().iter().map(|&g| g as f32).collect())
        } else {
            Supervision::Labels(ids("labels"))
        };
        let embeddings = case.tensor("embeddings").unwrap().clone();
        Self { name: case.name.clone(), embeddings, supervision, references, tuples }
    }
}

/// A batch with such labels, as the loss wants it: with a second view, or with grades of its pairs.
pub(crate) fn suited(spec: &LossSpec, labels: Vec<u64>, d: usize, seed: u64) -> Owned {
    let n = labels.len();
    let mut batch = Owned::plain(embeddings(&labels, d, seed), labels.clone());
    match spec.family {
        Family::Views => {
            batch.references = Some((embeddings(&labels, d, seed + 1000), Supervision::Labels(labels)));
        }
        Family::Graded => {
            batch.supervision = pair_grades((0..n / 2).map(|i| (i * 7 % 5) as f32 / 4.0).collect());
            // Even lengths, for rows that are taken for complex numbers.
            let even = batch.embeddings.narrow(0, 0, n / 2 * 2).unwrap().narrow(1, 0, d / 2 * 2).unwrap();
            batch.embeddings = even.contiguous().unwrap();
        }
        _ => {}
    }
    batch
}

/// A loss's value with its gradients at everything, in `f64`.
pub(crate) struct Outcome {
    pub(crate) value: Tensor,
    pub(crate) gradient: Tensor,
    pub(crate) references_gradient: Option<Tensor>,
    pub(crate) parameters: Vec<(String, Tensor)>,
    pub(crate) statistics: Statistics,
}

impl Outcome {
    pub(crate) fn all(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![("value".to_owned(), self.value.clone()), ("gradient".to_owned(), self.gradient.clone())];
        all.extend(self.references_gradient.iter().map(|g| ("gradient at the references".to_owned(), g.clone())));
        all.extend(self.parameters.iter().map(|(name, g)| (format!("gradient at the {name}"), g.clone())));
        all
    }
}

/// Runs a loss on a batch, embeddings cast to `dtype`.
pub(crate) fn run(objective: &mut dyn Objective, batch: &Owned, dtype: DType) -> dml_losses::Result<Outcome> {
    let var = |tensor: &Tensor| Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap();
    let x = var(&batch.embeddings);
    let references = batch.references.as_ref().map(|(embeddings, supervision)| (var(embeddings), supervision));
    let given = references.as_ref().map(|(embeddings, supervision)| References {
        embeddings: embeddings.as_tensor(),
        supervision,
        self_offset: None,
    });
    let evaluation = objective.evaluate(&Batch {
        embeddings: &x,
        supervision: &batch.supervision,
        references: given,
        tuples: batch.tuples.as_ref(),
    })?;
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    let gradients = evaluation.loss.sum_all()?.backward()?;
    let at = |what: &str, var: &Var| match gradients.get(var) {
        Some(gradient) => wide(gradient),
        None => panic!("{}: no gradient at the {what}", batch.name),
    };
    Ok(Outcome {
        value: wide(&evaluation.loss),
        gradient: at("embeddings", &x),
        references_gradient: references.as_ref().map(|(var, _)| at("references", var)),
        parameters: objective.parameters().iter().map(|(name, var)| (name.clone(), at(name, var))).collect(),
        statistics: evaluation.statistics,
    })
}

/// Sets the parameters and inputs that a golden case gives for a batch.
pub(crate) fn set_inputs(objective: &mut dyn Objective, case: &Case, batch: &Case) {
    for (name, var) in objective.parameters() {
        let own = format!("{}/{name}", batch.name);
        let values = if case.has(&own) {
            case.tensor(&own).unwrap()
        } else if batch.has(&name) {
            batch.tensor(&name).unwrap()
        } else {
            continue;
        };
        var.set(&values.to_dtype(var.dtype()).unwrap().reshape(var.shape()).unwrap()).unwrap();
    }
    let meta = format!("{}/meta_classes", batch.name);
    if case.has(&meta) {
        let state: HashMap<String, Tensor> = objective.state().unwrap().into_iter().collect();
        let meta = case.tensor(&meta).unwrap().to_dtype(DType::I64).unwrap();
        let state = state.into_iter().chain([("meta_classes".to_owned(), meta)]).collect();
        objective.load_state(&state).unwrap();
    }
}

pub(crate) fn context(dim: usize, classes: usize) -> Context {
    Context { dtype: DType::F64, ..Context::new(dim, classes) }
}

/// Rows around centres of their classes, so that classes overlap but are there; reproducible.
pub(crate) fn embeddings(labels: &[u64], d: usize, seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut number = move || {
        // Twelve uniform numbers make a normal one.
        let mut sum = -6.0;
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (state >> 11) as f64 / (1u64 << 53) as f64;
        }
        sum
    };
    let mut centres: HashMap<u64, Vec<f64>> = HashMap::new();
    let mut values = Vec::with_capacity(labels.len() * d);
    for &label in labels {
        let centre = centres.entry(label).or_insert_with(|| (0..d).map(|_| number()).collect()).clone();
        values.extend(centre.into_iter().map(|c| c + 0.9 * number()));
    }
    Tensor::from_vec(values, (labels.len(), d), &Device::Cpu).unwrap()
}

/// Grades of the pairs (row 2i, row 2i + 1).
pub(crate) fn pair_grades(grades: Vec<f32>) -> Supervision {
    Supervision::PairGrades(grades.into())
}
