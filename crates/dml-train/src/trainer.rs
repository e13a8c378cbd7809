//! The training loop.

use crate::optimizer::{Group, Optimizer};
use crate::sets::Sets;
use crate::{Error, Event, Recipe, Result, checkpoint, imprint, weights};
use candle_core::{Device, Tensor, Var};
use dml_data::{Dataset, Loader};
use dml_losses::{Context, Objective};
use dml_models::{Encoder, Input, Mode, Network};
use std::collections::HashMap;
use std::path::Path;

/// A model in training: encoder, objective, optimiser, and where it is.
pub struct Trainer {
    recipe: Recipe,
    encoder: Network,
    objective: Box<dyn Objective>,
    optimizer: Optimizer,
    step: u64,
    device: Device,
}

impl Trainer {
    /// A trainer at step 0 for the images and classes of `sets.train`.
    ///
    /// # Errors
    /// When the recipe's model, loss or sampler refuses its parameters.
    pub fn new(recipe: &Recipe, sets: &Sets, device: &Device) -> Result<Self> {
        let (input, classes) = (sets.train.shape(), sets.train.class_names().len());
        let encoder = Network::new(&recipe.model, input, recipe.seed, device)?;
        if let Some(address) = &recipe.model.weights {
            dml_models::pretrained::load(&encoder, &weights::locate(address)?)?;
        }
        let context = Context { seed: recipe.seed, device: device.clone(), ..Context::new(encoder.dim(), classes) };
        let objective = recipe.loss.objective().build(&context)?;
        let of_encoder = encoder.weights().trainable().into_iter().map(|(name, var)| {
            let group = if name.starts_with("head.") { Group::Head } else { Group::Backbone };
            (format!("encoder.{name}"), var, group)
        });
        let of_loss = objective.parameters().into_iter().map(|(n, v)| (format!("objective.{n}"), v, Group::Proxies));
        let optimizer = Optimizer::new(recipe.optimizer.clone(), of_encoder.chain(of_loss).collect())?;
        // Refused here, before anything is written, rather than at the first step.
        recipe.sampler.build(sets.train.labels(), recipe.seed)?;
        if recipe.loss.imprint {
            imprint::proxies(&recipe.loss.name, objective.parameters())?;
        }
        Ok(Self { recipe: recipe.clone(), encoder, objective, optimizer, step: 0, device: device.clone() })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The encoder.
    pub fn encoder(&self) -> &Network {
        &self.encoder
    }

    /// Trains on `sets.train` to the recipe's last step, with a checkpoint at `path` every so often and at the end.
    ///
    /// # Errors
    /// When data, loss or disk refuse, or the loss is no longer finite.
    pub fn fit(&mut self, sets: &Sets, path: &Path, on_event: &mut dyn FnMut(&Event) -> Result<()>) -> Result<()> {
        let (steps, seed) = (self.recipe.train.steps, self.recipe.seed);
        on_event(&Event::Start { step: self.step, steps })?;
        if self.step >= steps {
            return Ok(());
        }
        if self.step == 0 && self.recipe.loss.imprint {
            let proxies = imprint::proxies(&self.recipe.loss.name, self.objective.parameters())?;
            imprint::imprint(&self.encoder, &proxies, sets, &self.recipe, &self.device)?;
        }
        let sampler = self.recipe.sampler.build(sets.train.labels(), seed)?;
        let augment = self.recipe.augment.clone();
        let loader = Loader::new(sets.train.clone(), sampler, augment, sets.normalize.clone(), seed, self.step);
        for batch in loader {
            let batch = batch?;
            let factor = self.recipe.schedule.factor(self.step, steps);
            let embeddings = self.encoder.embed(&Input::Images(batch.to_tensor(&self.device)?), Mode::Train)?;
            let labels: Vec<u64> = batch.labels.iter().map(|&label| label.into()).collect();
            let loss = self.objective.loss(&embeddings, &labels)?;
            let value: f32 = loss.to_scalar()?;
            if !value.is_finite() {
                return Err(Error::NotFinite { step: self.step, loss: value, indices: batch.indices });
            }
            self.optimizer.step(&loss.backward()?, factor)?;
            self.step += 1;
            on_event(&Event::Step { step: self.step, steps, loss: value, lr: self.recipe.optimizer.lr * factor })?;
            if self.step.is_multiple_of(self.recipe.train.checkpoint_every) || self.step == steps {
                self.save(path)?;
                on_event(&Event::Checkpoint { step: self.step })?;
            }
            if self.step == steps {
                break;
            }
        }
        Ok(())
    }

    /// Writes everything that the rest of the run depends on.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let tensors = |vars: Vec<(String, Var)>| vars.into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect();
        let step = Tensor::new(self.step as i64, &Device::Cpu)?;
        checkpoint::save(
            path,
            &[
                ("trainer", vec![("step".to_owned(), step)]),
                ("encoder", tensors(self.encoder.weights().named())),
                ("proxies", tensors(self.objective.parameters())),
                ("objective", self.objective.state()?),
                ("optimizer", self.optimizer.state()?),
            ],
        )
    }

    /// Goes back to the checkpoint at `path`; false when there is none.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or belongs to another model.
    pub fn resume(&mut self, path: &Path) -> Result<bool> {
        let Some(mut sections) = checkpoint::load(path)? else { return Ok(false) };
        let mut section = |name: &str| sections.remove(name).unwrap_or_default();
        let step = section("trainer");
        let step = step.get("step").ok_or_else(|| Error::Checkpoint("trainer/step".to_owned()))?.to_scalar::<i64>()?;
        restore(&self.encoder.weights().named(), &section("encoder"))
            .map_err(|n| Error::Checkpoint(format!("encoder/{n}")))?;
        restore(&self.objective.parameters(), &section("proxies"))
            .map_err(|n| Error::Checkpoint(format!("proxies/{n}")))?;
        self.objective.load_state(&section("objective"))?;
        self.optimizer.load_state(&section("optimizer"))?;
        self.step = step as u64;
        Ok(true)
    }
}

/// Sets `vars` from `tensors`; the name of the first that does not fit otherwise.
fn restore(vars: &[(String, Var)], tensors: &HashMap<String, Tensor>) -> std::result::Result<(), String> {
    for (name, var) in vars {
        let tensor = tensors.get(name).ok_or_else(|| name.clone())?;
        tensor.to_device(var.device()).and_then(|t| var.set(&t)).map_err(|_| name.clone())?;
    }
    Ok(())
}
