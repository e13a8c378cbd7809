//! Every loss on a GPU, against the same on the CPU. Needs a build with the feature `cuda` or `metal`, and a GPU; skips
//! without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

mod cases;

use candle_core::DType;
use cases::{context, losses, modes, run, suited};
use dml_core::Metric;
use dml_losses::{Context, build};
use dml_testkit::close::to_f64;
use dml_testkit::{Tolerance, compare, gpu};

const CLASSES: usize = 7;

/// Single precision of one device is not that of another.
const TOLERANCE: Tolerance = Tolerance { absolute: 1e-5, ..Tolerance::of_largest(1e-3) };

#[test]
fn losses_are_the_same_on_a_gpu() {
    let device = match gpu() {
        Ok(device) => device,
        Err(why) => return println!("skipped: {why}"),
    };
    for spec in losses() {
        let labels: Vec<u64> = (0..24).map(|i| i % CLASSES as u64).collect();
        let here = suited(spec, labels, 16, 5);
        let mut there = here.clone();
        there.embeddings = here.embeddings.to_device(&device).unwrap();
        if let Some((references, _)) = &mut there.references {
            *references = references.to_device(&device).unwrap();
        }
        for params in modes(spec.name) {
            let context = Context { dtype: DType::F32, ..context(16, CLASSES) };
            let outcome = |context: Context, batch| {
                let mut loss = build(spec.name, &params, &context).unwrap();
                run(loss.as_mut(), batch, DType::F32).unwrap_or_else(|error| panic!("{} {params}: {error}", spec.name))
            };
            let want = outcome(context.clone(), &here).all();
            let got = outcome(Context { device: device.clone(), ..context }, &there).all();
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                let numbers = (to_f64(got).unwrap(), to_f64(want).unwrap());
                if let Err(difference) = compare(&numbers.0, &numbers.1, want.dims(), TOLERANCE) {
                    panic!("{} {params}: {name}: {difference}", spec.name);
                }
            }
        }
    }
}

#[test]
fn scores_are_the_same_on_a_gpu() {
    let device = match gpu() {
        Ok(device) => device,
        Err(why) => return println!("skipped: {why}"),
    };
    let labels: Vec<u64> = (0..9).collect();
    let x = (cases::embeddings(&labels, 6, 3).to_dtype(DType::F32).unwrap() * 0.2).unwrap();
    for metric in Metric::ALL {
        let want = dml_core::pairwise(metric, &x, &x).unwrap();
        let there = x.to_device(&device).unwrap();
        let got = dml_core::pairwise(metric, &there, &there).unwrap();
        let numbers = (to_f64(&got).unwrap(), to_f64(&want).unwrap());
        if let Err(difference) = compare(&numbers.0, &numbers.1, want.dims(), TOLERANCE) {
            panic!("{metric}: {difference}");
        }
    }
}
