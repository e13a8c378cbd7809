//! Correlations of pairs against scipy.

use dml_core::{Matrix, Metric};
use dml_eval::correlation;
use dml_testkit::load_goldens;
use std::path::Path;

#[test]
fn correlations_are_those_of_scipy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/correlation.safetensors");
    let cases = load_goldens(&path).unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let metric: Metric = case.description["metric"].as_str().unwrap().parse().unwrap();
        let rows = |name: &str| -> Vec<f32> { case.tensor(name).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
        let (left, right, found) = (rows("left"), rows("right"), rows("found"));
        let matrix = |rows| Matrix::new(rows, found.len(), left.len() / found.len()).unwrap();
        let got = correlation(metric, matrix(&left), matrix(&right), &found).unwrap();
        let want = |name: &str| case.numbers(name).unwrap()[0];
        assert_eq!(got.pairs, found.len());
        assert!((got.spearman - want("spearman")).abs() < 1e-9, "{}: {}", case.name, got.spearman);
        assert!((got.pearson - want("pearson")).abs() < 1e-6, "{}: {}", case.name, got.pearson);
    }
}
