//! Measures against pytorch-metric-learning, scikit-learn and scipy. `tests/golden/README.md` says which is which.

use dml_core::{Matrix, Metric};
use dml_eval::{retrieval, statistics, verification};
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use serde::Deserialize;
use std::path::Path;

const TOLERANCE: Tolerance = Tolerance::elementwise(1e-9, 1e-6);

/// What the generator says of a set of embeddings.
#[derive(Deserialize)]
struct Asked {
    metric: String,
    recall_at: Vec<usize>,
    fars: Vec<f64>,
}

/// The cases with a tensor of this name.
fn cases(tensor: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/metrics.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|case| case.has(tensor)).collect();
    assert!(cases.len() >= 3, "{} cases with {tensor}", cases.len());
    cases
}

fn assert_equal(case: &Case, measures: &[(&str, &[f64])]) {
    for (name, got) in measures {
        let want = case.numbers(name).unwrap();
        if let Err(difference) = compare(got, &want, &[want.len()], TOLERANCE) {
            panic!("{} {name}: {difference}", case.name);
        }
    }
}

#[test]
fn retrieval_and_verification_equal_their_references() {
    for case in cases("embeddings") {
        let asked = Asked::deserialize(&case.description).unwrap();
        let metric: Metric = asked.metric.parse().unwrap();
        let [rows, cols] = case.tensor("embeddings").unwrap().dims()[..] else { panic!("a matrix") };
        let values: Vec<f32> = case.tensor("embeddings").unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let (x, labels) = (Matrix::new(&values, rows, cols).unwrap(), case.labels("labels").unwrap());

        let found = retrieval(metric, x, &labels, &asked.recall_at).unwrap();
        let recall: Vec<f64> = found.recall_at.iter().map(|(_, recall)| *recall).collect();
        assert_eq!(found.queries + found.lone_queries, rows);
        assert_equal(
            &case,
            &[
                ("recall", &recall),
                ("precision_at_1", &recall[..1]),
                ("r_precision", &[found.r_precision]),
                ("map_at_r", &[found.map_at_r]),
                ("queries", &[found.queries as f64]),
            ],
        );

        let verified = verification(metric, x, &labels, &asked.fars).unwrap();
        let tar: Vec<f64> = verified.tar_at_far.iter().map(|point| point.tar).collect();
        assert_equal(
            &case,
            &[
                ("eer", &[verified.eer]),
                ("auc", &[verified.auc]),
                ("tar", &tar),
                ("genuine", &[verified.genuine as f64]),
                ("impostors", &[verified.impostors as f64]),
            ],
        );
    }
}

#[test]
fn intervals_equal_student_t() {
    for case in cases("ci95") {
        let values = case.numbers("values").unwrap();
        let measured = [statistics::mean(&values), statistics::std(&values), statistics::ci95(&values)];
        for (name, got) in ["mean", "std", "ci95"].into_iter().zip(measured) {
            assert_equal(&case, &[(name, &[got])]);
        }
    }
}
