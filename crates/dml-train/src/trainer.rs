//! The training loop.

use crate::batch_gradient::{Learned, Sum};
use crate::checkpoint::{self, restore};
use crate::examples::{ExampleBatch, Streamed};
use crate::moving_mean::MovingMean;
use crate::optimizer::{Group, Optimizer};
use crate::phases::Phases;
use crate::recipe::DataConfig;
use crate::run::RunFolder;
use crate::sets::Sets;
use crate::{Error, Event, Recipe, Result, agreement, batch_gradient, imprint, progress::Progress, weights};
use candle_core::{Device, Tensor, Var};
use dml_data::LoaderOptions;
use dml_losses::Context;
use dml_models::pretrained::{Loading, Report, Towers};
use dml_models::{Encoder, Network, is_of_head};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A model in training: encoder, objective, optimiser, and where it is.
pub struct Trainer {
    pub(crate) recipe: Recipe,
    pub(crate) encoder: Network,
    phases: Phases,
    /// Names of the encoder's weights that the recipe lets move.
    moves: HashSet<String>,
    pub(crate) optimizer: Optimizer,
    pub(crate) moving_mean: Option<MovingMean>,
    pub(crate) progress: Progress,
    pub(crate) device: Device,
    /// What the recipe says of first weights, their file, and what became of each.
    pub(crate) loaded: Vec<(String, PathBuf, Report)>,
}

impl Trainer {
    /// A trainer at step 0 for the samples and classes of `sets.train`.
    ///
    /// # Errors
    /// When the recipe's model, loss or sampler refuses its parameters.
    pub fn new(recipe: &Recipe, sets: &Sets, device: &Device) -> Result<Self> {
        let recipe = &recipe.completed()?;
        agreement::of_kind(recipe, sets)?;
        let encoder = Network::new(&recipe.model, sets.input_shape(), recipe.seed, device)?;
        let mut loaded = Vec::new();
        let text = recipe.model.text.as_deref().map(|text| (text, Towers::Texts, "model.text.weights"));
        for (model, towers, key) in std::iter::once((&recipe.model, Towers::Images, "model.weights")).chain(text) {
            let Some(file) = weights::locate(model, key)? else { continue };
            let alone = recipe.model.text.as_deref().is_none_or(|text| text.weights.is_some());
            // A run of both towers begins with a file of both.
            let towers = if alone || !weights::are_of_two_towers(&file)? { towers } else { Towers::All };
            let loading = Loading { new_head: true, towers, ..Loading::default() };
            let report = dml_models::pretrained::load_with(&encoder, &file, loading)?;
            loaded.push((model.weights.clone().unwrap_or_default(), file, report));
        }
        agreement::of_chunks(recipe, &encoder)?;
        // Each pair is a class of its own.
        let classes = match sets.train.class_names().len() {
            0 => sets.train.labels().len(),
            classes => classes,
        };
        let dims = Context::new(encoder.dim(), classes);
        let phases = Phases::new(recipe, &Context { seed: recipe.seed, device: device.clone(), ..dims })?;
        for (key, loss, objective) in phases.all(recipe) {
            agreement::of_views(recipe, sets, (key, loss), objective)?;
        }
        let moves = encoder.weights().trainable().into_iter().map(|(name, _)| name).collect();
        let of_encoder = encoder.weights().trainable().into_iter().map(|(name, var)| {
            let group = if is_of_head(&name) { Group::Head } else { Group::Backbone };
            (format!("encoder.{name}"), var, group)
        });
        let of_loss = phases.parameters().into_iter().map(|(n, v)| (n, v, Group::Proxies));
        let optimizer = Optimizer::new(recipe.optimizer.clone(), of_encoder.chain(of_loss).collect())?;
        // Refused here, before anything is written, rather than at the first step.
        sets.sampler(recipe)?;
        if recipe.loss.imprint {
            imprint::proxies(&recipe.loss.name, sets.train.class_names().len(), phases.main().parameters())?;
        }
        agreement::of_choice(recipe, sets)?;
        let ema = recipe.train.ema;
        let moving_mean = (ema > 0.0).then(|| MovingMean::new(encoder.weights(), ema)).transpose()?;
        let (recipe, device) = (recipe.clone(), device.clone());
        let progress = Progress::default();
        Ok(Self { recipe, encoder, phases, moves, optimizer, moving_mean, progress, device, loaded })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.progress.step
    }

    /// Whether all is done: the last step, or no better for too long.
    pub fn is_done(&self) -> bool {
        let train = &self.recipe.train;
        self.progress.step >= train.steps || (train.patience > 0 && self.progress.since_best >= train.patience)
    }

    /// The encoder.
    pub fn encoder(&self) -> &Network {
        &self.encoder
    }

    /// Trains on `sets.train` to the recipe's last step, with a checkpoint in `folder` every so often and at the end. When `stop`
    /// becomes true the step is finished and saved.
    ///
    /// # Errors
    /// When data, loss or disk refuse, loss or gradient are no longer finite, or [`Error::Interrupted`].
    pub fn fit(
        &mut self,
        sets: &Sets,
        folder: &RunFolder,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<()> {
        on_event(&Event::Start { step: self.step(), steps: self.recipe.train.steps })?;
        if self.is_done() {
            return Ok(());
        }
        let mut writer = checkpoint::Writer::default();
        let outcome = self.take_steps(sets, folder, stop, &mut writer, on_event);
        // What was being written when a step failed is on the disk all the same.
        if let (Err(_), Ok(Some(step))) = (&outcome, writer.finish()) {
            // The first problem is the one to tell.
            let _ = on_event(&Event::Checkpoint { step });
        }
        outcome
    }

    /// The steps of [`Self::fit`], whose checkpoints `writer` brings to the disk.
    fn take_steps(
        &mut self,
        sets: &Sets,
        folder: &RunFolder,
        stop: &AtomicBool,
        writer: &mut checkpoint::Writer,
        on_event: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<()> {
        let (steps, seed) = (self.recipe.train.steps, self.recipe.seed);
        let sampler = sets.sampler(&self.recipe)?;
        let accumulate = self.recipe.train.accumulate;
        let DataConfig { workers, ahead, unreadable, .. } = self.recipe.data;
        let loader = LoaderOptions { workers, ahead, unreadable, until: Some(steps.saturating_mul(accumulate)) };
        let how = Streamed { loader, bytes: !self.device.is_cpu() };
        let (mut began, mut saved) = (Instant::now(), Instant::now());
        let vars = self.optimizer.vars();
        let mut batches = sets.train.stream(sampler, (seed, self.step() * accumulate), how);
        loop {
            if self.recipe.loss.imprint && self.phases.main_begins(self.step()) {
                let classes = sets.train.class_names().len();
                let proxies = imprint::proxies(&self.recipe.loss.name, classes, self.phases.main().parameters())?;
                imprint::imprint(&self.encoder, &proxies, sets, &self.recipe, &self.device)?;
            }
            let factor = self.recipe.schedule.factor(self.step(), steps, self.progress.plateaus);
            let mut sum = Sum::default();
            for _ in 0..accumulate {
                // The stream ends behind the last step.
                let Some(batch) = batches.next() else { break };
                let batch = batch?;
                if !batch.skipped.is_empty() {
                    let what = batch.skipped.iter().map(|(_, why)| why.clone()).collect();
                    on_event(&Event::Skipped { step: self.step() + 1, what })?;
                }
                self.learn_from(batch, sets, &vars, &mut sum)?;
            }
            let (indices, loss, gradients) = sum.mean(&vars)?;
            let images = indices.len();
            let grad_norm = self.optimizer.step(&gradients, factor).map_err(|error| match error {
                Error::GradientNotFinite { parameter } => {
                    self.not_finite(format!("the gradient of {parameter} is not finite"), sets, &indices)
                }
                error => error,
            })?;
            if let Some(mean) = &self.moving_mean {
                mean.follow(self.encoder.weights())?;
            }
            self.progress.step += 1;
            let step = self.step();
            let lr = self.recipe.optimizer.lr * factor;
            let images_per_second = images as f64 / began.elapsed().as_secs_f64();
            on_event(&Event::Step { step, steps, loss, lr, grad_norm, images_per_second })?;
            self.validate(sets, folder, on_event)?;
            let stopping = stop.load(Ordering::Relaxed);
            let last = stopping || self.is_done();
            let mut written = writer.written()?;
            if last || self.recipe.train.checkpoint_is_due(step, saved.elapsed()) {
                written =
                    written.or(writer.begin(step, &folder.checkpoint(), self.recipe.train.keep, self.state()?)?);
                saved = Instant::now();
            }
            let at_the_end = if last { writer.finish()? } else { None };
            for step in written.into_iter().chain(at_the_end) {
                on_event(&Event::Checkpoint { step })?;
            }
            if self.is_done() {
                if step < steps {
                    on_event(&Event::StoppedEarly { step })?;
                }
                break;
            }
            if stopping {
                on_event(&Event::Interrupted { step })?;
                return Err(Error::Interrupted { step });
            }
            began = Instant::now();
        }
        Ok(())
    }

    /// Adds the loss of `batch`, examples of `sets.train`, and its gradient in `vars`.
    fn learn_from(&mut self, batch: ExampleBatch, sets: &Sets, vars: &[Var], sum: &mut Sum) -> Result<()> {
        let step = self.progress.step;
        let indices = batch.indices.clone();
        let batch = Learned::new(batch, self.recipe.loss.views, &self.device)?;
        let still = step < self.recipe.optimizer.backbone_frozen_steps;
        if still {
            // Not only does it not move: the work of its gradient is spared.
            self.stand(|name| !is_of_head(name));
        }
        let objective = self.phases.at(step);
        // On a thread of the pool: from outside, each of some hundred operations would wake it and wait to be woken.
        let (encoder, train) = (&self.encoder, &self.recipe.train);
        let learned = rayon::scope(|_| {
            train.precision.during(|| batch_gradient::of_batch(encoder, objective, &batch, train.chunk))
        });
        if still {
            self.stand(|_| false);
        }
        let (loss, gradients) = match learned {
            Err(Error::Loss(dml_losses::Error::NotNumbers { what, row })) => {
                return Err(self.not_finite(format!("{what}: scores of row {row} are not numbers"), sets, &indices));
            }
            learned => learned?,
        };
        if !loss.is_finite() {
            return Err(self.not_finite(format!("the loss is {loss}"), sets, &indices));
        }
        sum.add(indices, loss, gradients, vars)
    }

    /// Lets what `still` names stand still, of what the recipe lets move.
    fn stand(&self, still: impl Fn(&str) -> bool) {
        self.encoder.weights().freeze(|name| !self.moves.contains(name) || still(name));
    }

    fn not_finite(&self, what: String, sets: &Sets, indices: &[usize]) -> Error {
        let examples = indices.iter().map(|&index| sets.train.id(index)).collect();
        Error::NotFinite { step: self.step() + 1, what, examples }
    }

    /// Everything that the rest of the run depends on, as a checkpoint's file holds it.
    fn state(&self) -> Result<Vec<u8>> {
        let tensors = |vars: Vec<(String, Var)>| vars.into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect();
        let mut sections =
            vec![("trainer", self.progress.state()?), ("encoder", tensors(self.encoder.weights().named()))];
        sections.extend(self.phases.state()?);
        sections.push(("optimizer", self.optimizer.state()?));
        sections.push(("moving_mean", self.moving_mean.as_ref().map_or_else(Vec::new, |mean| mean.state())));
        checkpoint::to_bytes(&sections)
    }

    /// Writes everything that the rest of the run depends on to `path`; older checkpoints stay beside it, as many as the recipe says.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        checkpoint::write_newest(path, self.recipe.train.keep, self.state()?)
    }

    /// Goes back to the checkpoint at `path`, or to an older one beside it if that is damaged, and says then what is wrong; the
    /// damaged one is set aside. `None`: there is no checkpoint.
    ///
    /// # Errors
    /// When no checkpoint can be read, or it belongs to another model.
    pub fn resume(&mut self, path: &Path) -> Result<Option<Resumed>> {
        let Some((mut sections, problem)) = checkpoint::load_newest(path, self.recipe.train.keep)? else {
            return Ok(None);
        };
        let mut section = |name: &str| sections.remove(name).unwrap_or_default();
        let progress = Progress::from_state(&section("trainer"))?;
        restore(&self.encoder.weights().named(), &section("encoder"))
            .map_err(|n| Error::Checkpoint(format!("encoder/{n}")))?;
        self.phases.load_state(&mut section)?;
        self.optimizer.load_state(&section("optimizer"))?;
        if let Some(mean) = &self.moving_mean {
            mean.load_state(&section("moving_mean"))?;
        }
        self.progress = progress;
        if problem.is_some() {
            checkpoint::set_damaged_aside(path, self.recipe.train.keep)?;
        }
        Ok(Some(Resumed { damaged: problem }))
    }

    /// The weights that are measured, where they are not the encoder's own: the moving mean.
    pub(crate) fn moving_weights(&self) -> Option<Vec<(String, Tensor)>> {
        self.moving_mean.as_ref().map(MovingMean::state)
    }

    /// The encoder's own weights.
    pub(crate) fn own_weights(&self) -> Vec<(String, Tensor)> {
        self.encoder.weights().named().into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect()
    }
}

/// What a run goes on from.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// What is wrong with a newer checkpoint.
    pub damaged: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets;

    const RECIPE: &str = "name = 'frozen'\n[data]\nset = 'emoji'\n[model]\nfreeze = ['block0']\n[loss]\nname = 'triplet'\n[sampler]\nclasses = 4\nper_class = 2\n[optimizer]\nbackbone_frozen_steps = 1\n[train]\nsteps = 2\n";

    #[test]
    fn of_a_backbone_that_stands_there_is_no_gradient_until_it_moves() {
        let recipe = Recipe::parse(RECIPE, &["model.head.dim=8".to_owned()]).unwrap();
        let sets = sets::open(&recipe, None).unwrap();
        let mut trainer = Trainer::new(&recipe, &sets, &Device::Cpu).unwrap();
        let named: Vec<String> = trainer.encoder.weights().parameters().iter().map(|p| p.name().to_owned()).collect();
        let mut batches = sets.train.stream(sets.sampler(&recipe).unwrap(), (0, 0), Streamed::default());
        let mut learned = |trainer: &mut Trainer| -> Vec<String> {
            let (vars, mut sum) = (trainer.optimizer.vars(), Sum::default());
            trainer.learn_from(batches.next().unwrap().unwrap(), &sets, &vars, &mut sum).unwrap();
            let (_, _, store) = sum.mean(&vars).unwrap();
            let parameters = trainer.encoder.weights().parameters().iter();
            parameters.filter(|p| store.get(p.var()).is_some()).map(|p| p.name().to_owned()).collect()
        };
        assert_eq!(learned(&mut trainer), ["head.weight", "head.bias"]);
        trainer.progress.step = 1;
        let (moved, own): (Vec<String>, Vec<String>) = named.into_iter().partition(|name| !name.starts_with("block0."));
        assert!(!own.is_empty() && moved.len() > 4);
        assert_eq!(learned(&mut trainer), moved);
    }
}
