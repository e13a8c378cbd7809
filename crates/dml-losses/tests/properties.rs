//! What must hold for every loss on any batch at all: few rows or many, classes of one, any length of the vectors, any
//! reduction, any number of rows of scores at a time.

mod cases;

use candle_core::DType;
use cases::{Outcome, context, losses, run, suited};
use dml_core::rowwise::Memory;
use dml_losses::{Context, Kernel, Reduction, build};
use dml_testkit::close::to_f64;
use proptest::prelude::*;
use serde_json::json;

const CLASSES: usize = 5;

fn reduction() -> impl Strategy<Value = Option<Reduction>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Reduction::Mean)),
        1 => Just(Some(Reduction::Sum)),
        1 => Just(Some(Reduction::MeanNonZero)),
        1 => Just(Some(Reduction::PerAnchor)),
        1 => (0.0..0.5f64, 0.6..3.0f64).prop_map(|(low, high)| Some(Reduction::Threshold { low, high })),
        1 => proptest::collection::vec(0.0..2.0f64, CLASSES).prop_map(|weights| Some(Reduction::ClassWeighted(weights))),
        1 => (0.5..20.0f64).prop_map(|by| Some(Reduction::Divisor(by))),
    ]
}

/// The largest difference, over the largest number.
fn difference(a: &Outcome, b: &Outcome) -> f64 {
    let numbers = |outcome: &Outcome| -> Vec<f64> {
        outcome.all().iter().flat_map(|(_, tensor)| to_f64(tensor).unwrap()).collect()
    };
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
    a.iter().zip(&b).map(|(x, y)| if x == y { 0.0 } else { (x - y).abs() }).fold(0.0, f64::max) / largest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forms_and_memories_agree(
        labels in proptest::collection::vec(0..CLASSES as u64, 2..15),
        half in 1..5usize,
        seed in 0..1000u64,
        rows in 1..15usize,
        reduction in reduction(),
    ) {
        for spec in losses() {
            let batch = suited(spec, labels.clone(), 2 * half, seed);
            let own = Context { seed, reduction: reduction.clone(), ..context(2 * half, CLASSES) };
            let evaluate = |context: Context| {
                let loss = build(spec.name, &json!({}), &context);
                loss.and_then(|mut loss| run(loss.as_mut(), &batch, DType::F64)).map_err(|error| error.to_string())
            };
            let fused = evaluate(own.clone());
            let others = [
                evaluate(Context { kernel: Kernel::Composed, ..own.clone() }),
                evaluate(Context { memory: Memory::Rows(rows), ..own }),
            ];
            for (other, what) in others.iter().zip(["composed", "in tiles"]) {
                match (&fused, other) {
                    (Ok(fused), Ok(other)) => {
                        let apart = difference(fused, other);
                        prop_assert!(apart < 1e-7, "{}, {what}: {apart}", spec.name);
                        prop_assert_eq!(fused.statistics.terms, other.statistics.terms, "{}, {}", spec.name, what);
                    }
                    (Err(fused), Err(other)) => prop_assert_eq!(fused, other),
                    (fused, other) => prop_assert!(false, "{}, {what}: {:?} {:?}", spec.name, fused.is_ok(), other.is_ok()),
                }
            }
        }
    }
}
