//! What a run costs beside its model, loss and optimiser, and what a checkpoint costs a step.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use dml_data::LoaderOptions;
use dml_losses::Context;
use dml_models::{Encoder, Mode, Network, gradients};
use dml_tests::timing::Answer;
use dml_train::examples::Streamed;
use dml_train::optimizer::{Group, Optimizer};
use dml_train::run::{RunFolder, run};
use dml_train::{Event, Recipe, checkpoint, sets};

/// Images of a batch, three of a class.
pub(super) const BATCH: usize = 96;

const RECIPE: &str = "name = 'overhead'\n[data]\nset = 'emoji'\n[loss]\nname = 'multi_similarity'\n[sampler]\nper_class = 3\n\
                      [augment]\nrotate = 10\ntranslate = 0.1\n[train]\ncheckpoint_every = 20\n";
/// Steps before the clock runs, and while it does.
const WARM: usize = 10;
const TIMED: usize = 40;
const ROUNDS: usize = 7;

/// Steps of a run, with its data, log and checkpoints, and the floor: the same steps on batches that lie ready.
pub(super) fn beside_its_work(batch: usize, answer: &mut Answer) -> Result<()> {
    let overrides = [format!("sampler.classes={}", batch / 3), format!("train.steps={}", WARM + TIMED)];
    let recipe = Recipe::parse(RECIPE, &overrides)?;
    // In turns, so that a machine that grows slower or faster favours none.
    let (mut whole, mut floor) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floor.push(bare(&recipe)? / TIMED as f64);
        whole.push(trained(&recipe)? / TIMED as f64);
    }
    answer.seconds("ours", whole);
    answer.seconds("floor", floor);
    Ok(())
}

fn bare(recipe: &Recipe) -> Result<f64> {
    let (device, sets) = (Device::Cpu, sets::open(recipe, None)?);
    let (classes, images) = (sets.train.class_names().len(), sets.train.images().context("the set has no images")?);
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
        optimizer.step(&gradients, 1.0)?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// From the end of the last warm step to the end of the last.
fn trained(recipe: &Recipe) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (mut began, mut took) = (Instant::now(), 0.0);
    run(
        recipe,
        &RunFolder::open(folder.path())?,
        None,
        &Device::Cpu,
        &AtomicBool::new(false),
        &mut |event| match event {
            Event::Step { step, .. } if *step == WARM as u64 => began = Instant::now(),
            Event::Step { .. } => took = began.elapsed().as_secs_f64(),
            _ => {}
        },
    )?;
    Ok(took)
}

/// 100 MB in 100 tensors: how long the step waits, and when they are on the disk.
pub(super) fn checkpoint(answer: &mut Answer) -> Result<()> {
    let tensor = Tensor::rand(0f32, 1.0, (250, 1000), &Device::Cpu)?;
    let tensors: Vec<(String, Tensor)> =
        (0..100).map(|i| Ok((format!("{i}"), tensor.copy()?))).collect::<candle_core::Result<_>>()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint.safetensors");
    let sections = [("encoder", tensors)];
    let (mut waits, mut written) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let bytes = checkpoint::to_bytes(&sections)?;
        let mut writer = checkpoint::Writer::default();
        writer.begin(1, &path, 2, bytes)?;
        waits.push(began.elapsed().as_secs_f64());
        writer.finish()?;
        written.push(began.elapsed().as_secs_f64());
    }
    answer.seconds("ours", waits);
    answer.seconds("on the disk", written);
    Ok(())
}
