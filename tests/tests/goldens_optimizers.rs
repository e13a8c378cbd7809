//! Optimisers against PyTorch's.

use candle_core::{Device, IndexOp, Var};
use dml_testkit::{Tolerance, compare, load_goldens};
use dml_train::optimizer::{Group, Optimizer, OptimizerConfig};
use serde::Deserialize;
use std::path::Path;

const TOLERANCE: Tolerance = Tolerance::elementwise(1e-6, 1e-5);

#[test]
fn trajectories_equal_their_references() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/optimizers.safetensors");
    let cases = load_goldens(&path).unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let config = OptimizerConfig::deserialize(&case.description).unwrap();
        let weight = Var::from_tensor(&case.tensor("start").unwrap().to_device(&Device::Cpu).unwrap()).unwrap();
        let gradients = case.tensor("gradients").unwrap();
        let steps = gradients.dim(0).unwrap();
        let mut optimizer = Optimizer::new(config, vec![("weight".to_owned(), weight.clone(), Group::Head)]).unwrap();
        let mut trajectory: Vec<f64> = Vec::new();
        for step in 0..steps {
            // A loss whose gradient is the wanted one.
            let loss = (weight.as_tensor() * gradients.i(step).unwrap()).unwrap().sum_all().unwrap();
            optimizer.step(&loss.backward().unwrap(), 1.0).unwrap();
            let now: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
            trajectory.extend(now.into_iter().map(f64::from));
        }
        let want = case.numbers("trajectory").unwrap();
        if let Err(difference) = compare(&trajectory, &want, &[want.len()], TOLERANCE) {
            panic!("{}: {difference}", case.name);
        }
    }
}
