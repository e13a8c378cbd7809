//! What a run costs beside its model and loss, and what a checkpoint of 100 MB costs a step:
//!
//! `cargo run --release -p dml-train --example trainer_overhead [STEPS]`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use candle_core::{Device, Tensor};
use dml_data::LoaderOptions;
use dml_losses::Context;
use dml_models::{Encoder, Mode, Network, gradients};
use dml_train::examples::Streamed;
use dml_train::optimizer::{Group, Optimizer};
use dml_train::run::{RunFolder, run};
use dml_train::{Event, Recipe, checkpoint, sets};
use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const RECIPE: &str = "name = 'overhead'\n[data]\nset = 'emoji'\n[loss]\nname = 'multi_similarity'\n[sampler]\nclasses = 32\nper_class = 3\n\
                      [augment]\nrotate = 10\ntranslate = 0.1\n[train]\nsteps = 1\n";
/// Before the clock runs.
const WARM: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let steps: usize = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let recipe = Recipe::parse(RECIPE, &[format!("train.steps={}", WARM + steps)])?;
    // In turns, so that a machine that grows slower or faster favours none.
    let mut times = [vec![], vec![], vec![]];
    for _ in 0..3 {
        times[0].push(bare(&recipe, false)?);
        times[1].push(bare(&recipe, true)?);
        times[2].push(trained(&recipe)?);
    }
    let [model, moved, whole] = times.map(|mut times| {
        times.sort();
        times[1].as_secs_f64() * 1e3 / steps as f64
    });
    println!("model, loss and gradient      {model:8.2} ms a step");
    println!("the same with the optimiser   {moved:8.2} ms a step");
    println!("a run: data, log, checkpoints {whole:8.2} ms a step");
    println!("overhead of the run {:.1} %, of the optimiser {:.1} %", percent(whole, moved), percent(moved, model));
    of_checkpoint()
}

fn percent(more: f64, less: f64) -> f64 {
    100.0 * (more / less - 1.0)
}

/// The steps alone, on batches that lie ready.
fn bare(recipe: &Recipe, moves: bool) -> Result<Duration, Box<dyn Error>> {
    let (device, sets) = (Device::Cpu, sets::open(recipe, None)?);
    let (classes, images) = (sets.train.class_names().len(), sets.train.images().ok_or("the set has no images")?);
    let network = Network::new(&recipe.model, images.shape(), recipe.seed, &device)?;
    let context = Context { seed: recipe.seed, ..Context::new(network.dim(), classes) };
    let mut objective = recipe.loss.objective().build(&context)?;
    let parameters = network.weights().trainable().into_iter().map(|(n, v)| (n, v, Group::Head)).collect();
    let mut optimizer = Optimizer::new(recipe.optimizer.clone(), parameters)?;
    let loader = LoaderOptions { until: Some(recipe.train.steps), ..LoaderOptions::default() };
    let how = Streamed { loader, bytes: false };
    let batches: Vec<_> = sets.train.stream(sets.sampler(recipe)?, (recipe.seed, 0), how).collect::<Result<_, _>>()?;
    let mut began = Instant::now();
    for (step, batch) in batches.into_iter().enumerate() {
        if step == WARM {
            began = Instant::now();
        }
        let labels: Vec<u64> = batch.labels.iter().map(|&label| label.into()).collect();
        let views = batch.into_views(&device)?;
        // On a thread of the pool, as a run's steps are: from outside each operation would wake it and wait.
        let (_, gradients) = rayon::scope(|_| {
            gradients(|| -> Result<Tensor, dml_train::Error> {
                Ok(objective.loss(&network.embed(&views[0], Mode::Train)?, &labels)?)
            })
        })?;
        if moves {
            optimizer.step(&gradients, 1.0)?;
        }
    }
    Ok(began.elapsed())
}

/// The steps of a run, from the end of the last warm one to the end of the last.
fn trained(recipe: &Recipe) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (mut began, mut took) = (Instant::now(), Duration::ZERO);
    run(
        recipe,
        &RunFolder::open(folder.path())?,
        None,
        &Device::Cpu,
        &AtomicBool::new(false),
        &mut |event| match event {
            Event::Step { step, .. } if *step == WARM as u64 => began = Instant::now(),
            Event::Step { .. } => took = began.elapsed(),
            _ => {}
        },
    )?;
    Ok(took)
}

/// 100 MB in 100 tensors.
fn of_checkpoint() -> Result<(), Box<dyn Error>> {
    let tensor = Tensor::rand(0f32, 1.0, (250, 1000), &Device::Cpu)?;
    let tensors: Vec<(String, Tensor)> =
        (0..100).map(|i| Ok((format!("{i}"), tensor.copy()?))).collect::<candle_core::Result<_>>()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint.safetensors");
    let sections = [("encoder", tensors)];
    for _ in 0..3 {
        let began = Instant::now();
        let bytes = checkpoint::to_bytes(&sections)?;
        let copied = began.elapsed();
        let mut writer = checkpoint::Writer::default();
        writer.begin(1, &path, 2, bytes)?;
        let blocked = began.elapsed();
        writer.finish()?;
        let written = began.elapsed();
        println!(
            "checkpoint of 100 MB: copied in {copied:.0?}, the step waits {blocked:.0?}, on the disk after {written:.0?}"
        );
    }
    Ok(())
}
