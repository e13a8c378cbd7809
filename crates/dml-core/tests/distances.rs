//! Score matrices and their gradients against pytorch-metric-learning (and, for the Poincaré ball, the formula in PyTorch):
//! kernels in both float types, and the composed form. `tests/golden/README.md` says where the numbers come from.

use candle_core::{DType, Device, Tensor, Var};
use dml_core::table::tablewise;
use dml_core::{Error, Matrix, Metric, Projection, Real, pairwise, relevance::Labels, scores};
use dml_testkit::close::to_f64;
use dml_testkit::{Case, Tolerance, assert_close, load_goldens};
use std::path::Path;

fn cases() -> Vec<Case> {
    load_goldens(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/distances.safetensors")).unwrap()
}

fn metric(case: &Case) -> (Metric, Projection) {
    let metric: Metric = case.description["metric"].as_str().unwrap().parse().unwrap();
    let projection = match metric {
        Metric::Hyperbolic(curvature) => {
            Projection::Ball { curvature, clip: case.description["clip"].as_f64().unwrap() }
        }
        _ if case.description["normalize"] == true => Projection::Unit,
        _ => Projection::None,
    };
    (metric, projection)
}

fn near(what: &str, case: &Case, name: &str, got: Vec<f64>, share: f64) {
    let want = case.tensor(name).unwrap();
    let got = Tensor::from_vec(got, want.shape(), &Device::Cpu).unwrap();
    assert_close(&format!("{} {what}: {name}", case.name), &got, want, Tolerance::of_largest(share));
}

fn kernels<T: Real>(case: &Case, share: f64) {
    let (metric, projection) = metric(case);
    let read = |name: &str| -> Vec<T> { case.numbers(name).unwrap().into_iter().map(T::of).collect() };
    let (rows, columns, weights) = (read("rows"), read("columns"), read("weights"));
    let d = case.tensor("rows").unwrap().dims()[1];
    let (n, m) = (rows.len() / d, columns.len() / d);
    let a = projection.apply(Matrix::new(&rows, n, d).unwrap());
    let b = projection.apply(Matrix::new(&columns, m, d).unwrap());
    let wide = |values: &[T]| values.iter().map(|v| v.wide()).collect::<Vec<f64>>();
    let mut matrix = vec![T::zero(); n * m];
    scores(metric, a.matrix(), b.matrix(), &mut matrix).unwrap();
    near("kernel", case, "matrix", wide(&matrix), share);
    let labels = Labels::new(&[0; 6], &[0; 7], None);
    let (_, mut da, mut db, ()) =
        tablewise::<T, (), Error>(metric, a.matrix(), Some(b.matrix()), &labels, |_, gradient| {
            gradient.copy_from_slice(&weights);
            Ok((0.0, ()))
        })
        .unwrap();
    a.pull_back(&mut da);
    b.pull_back(&mut db);
    near("kernel", case, "rows_gradient", wide(&da), share);
    near("kernel", case, "columns_gradient", wide(&db), share);
}

#[test]
fn kernels_equal_the_reference() {
    let cases = cases();
    assert!(cases.len() >= 15);
    for case in &cases {
        kernels::<f64>(case, 1e-9);
        // Points near the edge of the ball lose some digits.
        kernels::<f32>(case, 1e-4);
    }
}

#[test]
fn composed_scores_equal_the_reference() {
    for case in &cases() {
        let (metric, projection) = metric(case);
        let var = |name: &str| Var::from_tensor(&case.tensor(name).unwrap().to_dtype(DType::F64).unwrap()).unwrap();
        let (rows, columns) = (var("rows"), var("columns"));
        let matrix = pairwise(metric, &projection.compose(&rows).unwrap(), &projection.compose(&columns).unwrap());
        let matrix = matrix.unwrap();
        near("composed", case, "matrix", to_f64(&matrix).unwrap(), 1e-9);
        let weights = case.tensor("weights").unwrap().to_dtype(DType::F64).unwrap();
        let gradients = (matrix * weights).unwrap().sum_all().unwrap().backward().unwrap();
        near("composed", case, "rows_gradient", to_f64(gradients.get(&rows).unwrap()).unwrap(), 1e-8);
        near("composed", case, "columns_gradient", to_f64(gradients.get(&columns).unwrap()).unwrap(), 1e-8);
    }
}
