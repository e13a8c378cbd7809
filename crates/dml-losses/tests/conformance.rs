//! What must hold for every loss of the registry in every mode: its two forms agree, the gradient is the derivative, memory
//! and threads change nothing, nothing costs nothing, and what is not a number shows.

mod cases;

use candle_core::{DType, Device, Tensor};
use cases::{Outcome, Owned, context, losses, modes, run, suited};
use dml_core::rowwise::Memory;
use dml_losses::{Context, Family, Kernel, LossSpec, Objective, Reduction, Supervision, build};
use dml_testkit::close::to_f64;
use dml_testkit::{Tolerance, compare};
use serde_json::Value;

const CLASSES: usize = 7;

/// Losses whose gradient leaves something out on purpose (weights, ranks or norms that are held fixed), so that it is not
/// the derivative of the value: their goldens hold what it must be.
const HELD_FIXED: [&str; 2] = ["ada_face", "circle"];

/// A batch of `n` rows that suits the loss; labels in no order, some classes small.
fn batch(spec: &LossSpec, n: usize, d: usize, seed: u64) -> Owned {
    let labels: Vec<u64> = (0..n as u64).map(|i| (i * i * 7 + i * 3 + seed * 5) % 31 % CLASSES as u64).collect();
    suited(spec, labels, d, seed)
}

fn make(spec: &LossSpec, params: &Value, context: &Context) -> Box<dyn Objective> {
    build(spec.name, params, context).unwrap_or_else(|error| panic!("{} {params}: {error}", spec.name))
}

fn evaluate(spec: &LossSpec, params: &Value, batch: &Owned, context: &Context) -> Outcome {
    run(make(spec, params, context).as_mut(), batch, context.dtype)
        .unwrap_or_else(|error| panic!("{} {params} on {}: {error}", spec.name, batch.name))
}

fn assert_same(what: &str, got: &Outcome, want: &Outcome, share: f64) {
    let (got, want) = (got.all(), want.all());
    assert_eq!(got.len(), want.len(), "{what}");
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        assert_eq!(got.dims(), want.dims(), "{what}: {name}");
        let tolerance = Tolerance { absolute: share * 1e-2, ..Tolerance::of_largest(share) };
        if let Err(difference) = compare(&to_f64(got).unwrap(), &to_f64(want).unwrap(), want.dims(), tolerance) {
            panic!("{what}: {name}: {difference}");
        }
    }
}

#[test]
fn fused_equals_composed() {
    for spec in losses() {
        for params in modes(spec.name) {
            for (n, d, seed) in [(4, 3, 1), (9, 4, 2), (24, 16, 3), (71, 20, 4)] {
                let (batch, context) = (batch(spec, n, d, seed), context(d, CLASSES));
                let fused = evaluate(spec, &params, &batch, &context);
                let composed = evaluate(spec, &params, &batch, &Context { kernel: Kernel::Composed, ..context });
                assert_same(&format!("{} {params} n = {n}", spec.name), &fused, &composed, 1e-7);
                let (a, b) = (fused.statistics, composed.statistics);
                assert_eq!((a.terms, a.active), (b.terms, b.active), "{} {params} n = {n}: terms", spec.name);
                assert_eq!(a.positive_pairs, b.positive_pairs, "{} {params} n = {n}", spec.name);
                assert!((a.mean_negative - b.mean_negative).abs() < 1e-9, "{} {params}", spec.name);
                assert!((a.mean_positive - b.mean_positive).abs() < 1e-9, "{} {params}", spec.name);
            }
        }
    }
}

#[test]
fn gradients_are_derivatives() {
    for spec in losses().filter(|spec| !HELD_FIXED.contains(&spec.name)) {
        for params in modes(spec.name) {
            let (batch, context) = (batch(spec, 12, 5, 11), context(5, CLASSES));
            for kernel in [Kernel::Auto, Kernel::Composed] {
                let context = Context { kernel, ..context.clone() };
                let objective = make(spec, &params, &context);
                let start: Vec<Tensor> =
                    objective.parameters().iter().map(|(_, v)| v.as_tensor().copy().unwrap()).collect();
                // Each value from a fresh loss: some keep a state.
                let at = |x: &Tensor, references: Option<&Tensor>, parameters: &[Tensor]| -> Outcome {
                    let mut objective = make(spec, &params, &context);
                    for ((_, var), value) in objective.parameters().iter().zip(parameters) {
                        var.set(value).unwrap();
                    }
                    let mut batch = batch.clone();
                    batch.embeddings = x.clone();
                    if let (Some(references), Some(own)) = (references, &mut batch.references) {
                        own.0 = references.clone();
                    }
                    run(objective.as_mut(), &batch, DType::F64).unwrap()
                };
                let references = batch.references.as_ref().map(|r| r.0.clone());
                let whole = at(&batch.embeddings, references.as_ref(), &start);
                let what = format!("{} {params} {kernel:?}", spec.name);
                check(&what, &batch.embeddings, &whole.gradient, |x| at(x, references.as_ref(), &start).value);
                if let Some(references) = &references {
                    let gradient = whole.references_gradient.as_ref().unwrap();
                    check(&what, references, gradient, |r| at(&batch.embeddings, Some(r), &start).value);
                }
                for (k, (name, gradient)) in whole.parameters.iter().enumerate() {
                    check(&format!("{what} at the {name}"), &start[k], gradient, |p| {
                        let mut moved = start.clone();
                        moved[k] = p.clone();
                        at(&batch.embeddings, references.as_ref(), &moved).value
                    });
                }
            }
        }
    }
}

/// A gradient against central differences along a few directions and, of a small tensor, along each axis.
fn check(what: &str, x: &Tensor, gradient: &Tensor, value: impl Fn(&Tensor) -> Tensor) {
    let values = to_f64(x).unwrap();
    let gradient = to_f64(gradient).unwrap();
    let largest = gradient.iter().fold(1e-3, |a: f64, g| a.max(g.abs()));
    let step = 1e-6;
    let axes = (0..values.len()).step_by(values.len().div_ceil(24).max(1));
    for k in axes {
        let at = |sign: f64| {
            let mut moved = values.clone();
            moved[k] += sign * step;
            let moved = Tensor::from_vec(moved, x.shape(), &Device::Cpu).unwrap();
            to_f64(&value(&moved)).unwrap()[0]
        };
        let numeric = (at(1.0) - at(-1.0)) / (2.0 * step);
        let difference = (numeric - gradient[k]).abs();
        assert!(difference < 2e-5 * largest + 1e-7, "{what}: {numeric} by differences, {} at {k}", gradient[k]);
    }
}

#[test]
fn streaming_equals_whole() {
    for spec in losses() {
        for params in modes(spec.name) {
            let (batch, context) = (batch(spec, 71, 6, 5), context(6, CLASSES));
            let with = |memory| evaluate(spec, &params, &batch, &Context { memory, ..context.clone() });
            let whole = with(Memory::Whole);
            for rows in [1, 16, 70] {
                assert_same(&format!("{} {params} {rows} rows", spec.name), &with(Memory::Rows(rows)), &whole, 1e-9);
            }
        }
    }
}

#[test]
fn number_of_threads_does_not_matter() {
    for spec in losses() {
        for params in modes(spec.name) {
            let bits = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let mut bits: Vec<u64> = Vec::new();
                    for n in [3, 64, 150] {
                        let context = Context { dtype: DType::F32, ..context(6, CLASSES) };
                        let outcome = evaluate(spec, &params, &batch(spec, n, 6, 9), &context);
                        for (_, tensor) in outcome.all() {
                            bits.extend(to_f64(&tensor).unwrap().into_iter().map(f64::to_bits));
                        }
                    }
                    bits
                })
            };
            let one = bits(1);
            assert!(one.iter().any(|&bits| bits << 1 != 0), "{} {params}: nothing was compared", spec.name);
            for threads in [2, 5] {
                assert!(bits(threads) == one, "{} {params}: {threads} threads give another result", spec.name);
            }
        }
    }
}

#[test]
fn nothing_costs_nothing_and_moves_nothing() {
    for spec in losses() {
        for params in modes(spec.name) {
            for kernel in [Kernel::Auto, Kernel::Composed] {
                let context = Context { kernel, ..context(4, CLASSES) };
                // No rows, one row, and two rows far apart that have no positive.
                for labels in [vec![], vec![3], vec![1, 2]] {
                    let mut batch = suited(spec, labels.clone(), 4, 2);
                    if labels.len() == 2 {
                        let rows = [[9f64, 0.0, 0.0, 0.0], [-9.0, 0.0, 0.0, 0.0]];
                        batch.embeddings = Tensor::new(&rows, &Device::Cpu).unwrap();
                    }
                    let outcome = evaluate(spec, &params, &batch, &context);
                    let what = format!("{} {params} {kernel:?} {labels:?}", spec.name);
                    let all = outcome.all();
                    let finite = all.iter().all(|(_, t)| to_f64(t).unwrap().iter().all(|v| v.is_finite()));
                    assert!(finite, "{what}: {all:?}");
                    // Proxies, views and instances always have something to say of a row.
                    let silent = matches!(spec.family, Family::Pair | Family::Ranking | Family::FewShot);
                    if silent && !SPEAK_OF_EVERY_ROW.contains(&spec.name) {
                        let zero = all.iter().all(|(_, t)| to_f64(t).unwrap().iter().all(|&v| v == 0.0));
                        assert!(zero || labels.len() == 2 && !far_is_enough(spec, &params), "{what}: {all:?}");
                    }
                }
            }
        }
    }
}

/// Losses of the family of pairs that do not need one.
const SPEAK_OF_EVERY_ROW: [&str; 2] = ["instance", "manifold"];

/// Whether two opposite rows of different classes are at rest: not under a loss that pushes any negative.
fn far_is_enough(spec: &LossSpec, params: &Value) -> bool {
    let margin = |key: &str| params[key].as_f64().unwrap_or(0.0);
    match spec.name {
        "contrastive" => params["metric"] == "euclidean" && margin("neg_margin") < 2.0,
        "intra_pair_variance"
        | "multi_similarity"
        | "generalized_lifted_structure"
        | "ranked_list"
        | "snr_contrastive" => false,
        _ => true,
    }
}

#[test]
fn what_is_not_a_number_shows() {
    for spec in losses() {
        for params in modes(spec.name) {
            for kernel in [Kernel::Auto, Kernel::Composed] {
                for bad in [f64::NAN, f64::INFINITY] {
                    let context = Context { kernel, ..context(4, CLASSES) };
                    // Two classes of four, so that every row has a part in the loss.
                    let labels = vec![0, 0, 0, 0, 1, 1, 1, 1];
                    let mut batch = suited(spec, labels, 4, 6);
                    let mut values = to_f64(&batch.embeddings).unwrap();
                    values[1] = bad;
                    batch.embeddings = Tensor::from_vec(values, (8, 4), &Device::Cpu).unwrap();
                    let what = format!("{} {params} {kernel:?} {bad}", spec.name);
                    let mut objective = make(spec, &params, &context);
                    if let Ok(outcome) = run(objective.as_mut(), &batch, DType::F64) {
                        let shows =
                            outcome.all().iter().any(|(_, t)| to_f64(t).unwrap().iter().any(|v| !v.is_finite()));
                        assert!(shows, "{what}: hidden; value {:?}", outcome.value);
                    }
                }
            }
        }
    }
}

#[test]
fn names_of_classes_do_not_matter() {
    let names = [u64::MAX, 1 << 63, (1 << 63) + 1, 1 << 53, (1 << 53) + 1, 0, (1 << 24) + 1];
    for spec in losses().filter(|spec| spec.family != Family::Proxy) {
        // What is learned for each class wants them numbered.
        for params in modes(spec.name).into_iter().filter(|params| params["per_class"] != true) {
            let small = batch(spec, 30, 5, 8);
            let mut large = small.clone();
            if let Supervision::Labels(labels) = &mut large.supervision {
                labels.iter_mut().for_each(|label| *label = names[*label as usize]);
            }
            if let Some((_, Supervision::Labels(labels))) = &mut large.references {
                labels.iter_mut().for_each(|label| *label = names[*label as usize]);
            }
            let context = context(5, CLASSES);
            let (small, large) = (evaluate(spec, &params, &small, &context), evaluate(spec, &params, &large, &context));
            assert_same(&format!("{} {params}", spec.name), &large, &small, 1e-12);
        }
    }
}

#[test]
fn single_and_half_precision_are_near_double() {
    for spec in losses() {
        let params = (spec.default_params)();
        // Where no rounding decides what counts.
        let batch = batch(spec, 24, 8, 13);
        let exact = {
            // From the very numbers that half precision holds.
            let mut batch = batch.clone();
            batch.embeddings = batch.embeddings.to_dtype(DType::BF16).unwrap().to_dtype(DType::F64).unwrap();
            if let Some((references, _)) = &mut batch.references {
                *references = references.to_dtype(DType::BF16).unwrap().to_dtype(DType::F64).unwrap();
            }
            let context = Context { dtype: DType::F32, ..context(8, CLASSES) };
            let mut objective = make(spec, &params, &context);
            (run(objective.as_mut(), &batch, DType::F64).unwrap(), batch)
        };
        for (dtype, share) in [(DType::F32, 2e-4), (DType::BF16, 2e-2)] {
            for kernel in [Kernel::Auto, Kernel::Composed] {
                let context = Context { dtype: DType::F32, kernel, ..context(8, CLASSES) };
                let outcome = run(make(spec, &params, &context).as_mut(), &exact.1, dtype).unwrap();
                assert_same(&format!("{} in {dtype:?}, {kernel:?}", spec.name), &outcome, &exact.0, share);
            }
        }
    }
}

#[test]
fn reductions_of_both_forms_agree() {
    let weights = (0..CLASSES).map(|c| 0.25 + c as f64 / 2.0).collect();
    let reductions = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::MeanNonZero,
        Reduction::PerAnchor,
        Reduction::Threshold { low: 0.05, high: 2.0 },
        Reduction::ClassWeighted(weights),
        Reduction::Divisor(3.0),
        Reduction::None,
    ];
    for spec in losses() {
        let params = (spec.default_params)();
        let (batch, context) = (batch(spec, 24, 6, 17), context(6, CLASSES));
        for reduction in &reductions {
            let with = |kernel| -> dml_losses::Result<Outcome> {
                let context = Context { kernel, reduction: Some(reduction.clone()), ..context.clone() };
                run(build(spec.name, &params, &context)?.as_mut(), &batch, DType::F64)
            };
            // A loss that is one number by nature refuses, in both forms.
            match (with(Kernel::Auto), with(Kernel::Composed)) {
                (Ok(fused), Ok(composed)) => {
                    assert_same(&format!("{} {reduction:?}", spec.name), &fused, &composed, 1e-7);
                }
                (Err(a), Err(b)) => assert!(a.to_string().contains("reduction"), "{}: {a}; {b}", spec.name),
                (a, b) => panic!("{} {reduction:?}: {:?} fused, {:?} composed", spec.name, a.is_ok(), b.is_ok()),
            }
        }
    }
}

#[test]
fn the_order_of_rows_does_not_matter() {
    // Losses that take the first rows of a class, or pairs of neighbours.
    let by_order = [
        "angle",
        "clip",
        "cosent",
        "hyperbolic",
        "manifold",
        "matching",
        "mega_batch_margin",
        "n_pairs",
        "prototypical",
        "vic_reg",
    ];
    for spec in losses().filter(|spec| !by_order.contains(&spec.name)) {
        for params in modes(spec.name) {
            let (n, d) = (23, 5);
            let straight = batch(spec, n, d, 19);
            let order: Vec<u32> = (0..n as u32).map(|i| i * 9 % n as u32).collect();
            let mut turned = straight.clone();
            let index = Tensor::new(&order[..], &Device::Cpu).unwrap();
            turned.embeddings = straight.embeddings.index_select(&index, 0).unwrap();
            if let Supervision::Labels(labels) = &straight.supervision {
                turned.supervision = Supervision::Labels(order.iter().map(|&i| labels[i as usize]).collect());
            }
            let context = context(d, CLASSES);
            let mut want = evaluate(spec, &params, &straight, &context);
            want.gradient = want.gradient.index_select(&index, 0).unwrap();
            let got = evaluate(spec, &params, &turned, &context);
            assert_same(&format!("{} {params}", spec.name), &got, &want, 1e-9);
        }
    }
}
