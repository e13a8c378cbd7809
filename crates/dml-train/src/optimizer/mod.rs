//! SGD, Adam, AdamW and RMSprop over groups of parameters, with state that a checkpoint can hold.
//!
//! On the CPU a step changes weights and state in place, in one pass of all threads; candle-nn's would read and write them eight
//! times.

mod config;
mod rule;

pub use config::{Kind, OptimizerConfig};

use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use dml_core::vector::{sum_of, widest};
use rayon::prelude::*;
use rule::{Memory, Step};
use std::collections::HashMap;

/// Which learning rate a parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Of the encoder, but for its head.
    Backbone,
    /// Of the encoder's head.
    Head,
    /// Of the loss.
    Proxies,
}

/// Numbers of one partial sum of a gradient's squares.
const PART: usize = 1 << 15;

struct Slot {
    name: String,
    var: Var,
    group: Group,
    memory: Memory,
    /// Steps in which it moved: what its means are corrected by, as PyTorch counts them.
    steps: u64,
}

/// Moves parameters against their gradients.
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

impl Optimizer {
    /// An optimiser over parameters with their groups.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn new(config: OptimizerConfig, parameters: Vec<(String, Var, Group)>) -> Result<Self> {
        let slot = |(name, var, group)| Ok(Slot { name, group, memory: Memory::new(&var)?, var, steps: 0 });
        Ok(Self { config, slots: parameters.into_iter().map(slot).collect::<Result<Vec<_>>>()?, steps: 0 })
    }

    /// One step with the learning rate multiplied by `factor`; gives the norm of the gradient of all that moves, its numbers clipped
    /// by `clip_value` but not yet by `clip_norm`.
    ///
    /// # Errors
    /// [`Error::GradientNotFinite`] when a gradient is not finite: nothing has been changed then; or when a tensor operation fails.
    pub fn step(&mut self, gradients: &GradStore, factor: f64) -> Result<f64> {
        let norm = self.norm(gradients)?;
        if !norm.is_finite() {
            return Err(Error::GradientNotFinite { parameter: self.first_not_finite(gradients)? });
        }
        self.steps += 1;
        let c = &self.config;
        let scale = if c.clip_norm > 0.0 && norm > c.clip_norm { c.clip_norm / norm } else { 1.0 };
        for slot in &mut self.slots {
            let of_group = c.lr_factor(slot.group, self.steps);
            // Nothing moves, not even its memory.
            let Some(gradient) = gradients.get(&slot.var).filter(|_| of_group != 0.0) else { continue };
            slot.steps += 1;
            let mut step = Step::new(c, slot.steps);
            step.scale = scale;
            let decays = c.decay_all || slot.var.rank() > 1;
            slot.memory.step(&slot.var, gradient, step.of(c.lr * of_group * factor, decays))?;
        }
        Ok(norm)
    }

    /// The parameters that the next step moves.
    fn moving(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| self.config.lr_factor(slot.group, self.steps + 1) != 0.0)
    }

    /// The norm of the gradient of all that moves, each number clipped as the rule clips it. As in PyTorch, what stands still has no
    /// part in it.
    fn norm(&self, gradients: &GradStore) -> Result<f64> {
        let of_each = self.moving().filter_map(|slot| gradients.get(&slot.var));
        Ok(of_each.map(|gradient| self.squares(gradient)).sum::<Result<f64>>()?.sqrt())
    }

    fn first_not_finite(&self, gradients: &GradStore) -> Result<String> {
        for slot in self.moving() {
            if let Some(gradient) = gradients.get(&slot.var)
                && !self.squares(gradient)?.is_finite()
            {
                return Ok(slot.name.clone());
            }
        }
        Ok("all together".to_owned())
    }

    /// `Σ g²` of numbers clipped as the rule clips them; NaN where one is no number, or infinite: what is clipped must not hide it.
    fn squares(&self, gradient: &Tensor) -> Result<f64> {
        let clip = self.config.clip();
        if !dml_core::has_kernels(gradient) || gradient.dtype() != DType::F32 {
            let sum =
                |of: &Tensor| -> Result<f64> { Ok(f64::from(of.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?)) };
            if !clip.is_finite() {
                return sum(&gradient.sqr()?);
            }
            // A device's minimum and maximum may take NaN for a bound. 0 · g is 0, or NaN.
            return Ok(sum(&gradient.clamp(-clip, clip)?.sqr()?)? + sum(&(gradient * 0.0)?)?);
        }
        let row = gradient.reshape((1, ()))?;
        let clip = clip as f32;
        let square = |g: f32| rule::clipped(g, clip) * rule::clipped(g, clip) + 0.0 * g;
        Ok(dml_core::with_host(&row, |values: dml_core::Matrix<'_, f32>| {
            // Parts of a fixed size, added in their order.
            let parts = values.data().par_chunks(PART).map(|part| {
                widest(
                    #[inline(always)]
                    || sum_of(part, square),
                )
            });
            parts.collect::<Vec<f64>>().into_iter().sum()
        })?)
    }

    /// What it moves, in its order.
    pub fn vars(&self) -> Vec<Var> {
        self.slots.iter().map(|slot| slot.var.clone()).collect()
    }

    /// All state, with stable names.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let of_each: Vec<i64> = self.slots.iter().map(|slot| slot.steps as i64).collect();
        let cpu = &candle_core::Device::Cpu;
        let mut state = vec![
            ("steps".to_owned(), Tensor::new(self.steps as i64, cpu)?),
            ("steps_of_each".to_owned(), Tensor::new(of_each, cpu)?),
        ];
        for slot in &self.slots {
            let [first, second] = slot.memory.tensors(&slot.var)?;
            state.push((format!("{}.first", slot.name), first));
            state.push((format!("{}.second", slot.name), second));
        }
        Ok(state)
    }

    /// Restores what [`Self::state`] gave.
    ///
    /// # Errors
    /// When an entry is missing or has another shape.
    pub fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let find = |name: &str, like: Option<&Var>| {
            let tensor = state.get(name).filter(|t| like.is_none_or(|l| l.dims() == t.dims()));
            tensor.cloned().ok_or_else(|| Error::Checkpoint(format!("optimizer/{name}")))
        };
        self.steps = find("steps", None)?.to_scalar::<i64>()? as u64;
        // Checkpoints of older versions know one number for all.
        let of_each = match find("steps_of_each", None) {
            Ok(counts) => counts.to_vec1::<i64>()?,
            Err(_) => vec![self.steps as i64; self.slots.len()],
        };
        if of_each.len() != self.slots.len() {
            return Err(Error::Checkpoint("optimizer/steps_of_each".to_owned()));
        }
        for (slot, steps) in self.slots.iter_mut().zip(of_each) {
            slot.steps = steps as u64;
            let of = |what: &str| find(&format!("{}.{what}", slot.name), Some(&slot.var));
            let tensors = [of("first")?, of("second")?];
            slot.memory.set(tensors, &slot.var)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn what_has_stood_still_begins_with_a_first_step() {
        let var = || Var::from_tensor(&Tensor::new(&[1f32], &Device::Cpu).unwrap()).unwrap();
        let (backbone, head) = (var(), var());
        let config = OptimizerConfig { backbone_frozen_steps: 3, weight_decay: 0.0, lr: 0.1, ..Default::default() };
        let slots = [("a", &backbone, Group::Backbone), ("b", &head, Group::Head)];
        let slots: Vec<_> = slots.map(|(name, var, group)| (name.to_owned(), var.clone(), group)).to_vec();
        let mut optimizer = Optimizer::new(config.clone(), slots.clone()).unwrap();
        let value = || backbone.to_vec1::<f32>().unwrap()[0];
        for step in 1..=4 {
            let loss = (backbone.sqr().unwrap() + head.sqr().unwrap()).unwrap().sum_all().unwrap();
            optimizer.step(&loss.backward().unwrap(), 1.0).unwrap();
            // Adam's first step is as long as the learning rate.
            assert!((value() - if step < 4 { 1.0 } else { 0.9 }).abs() < 1e-6, "step {step}: {}", value());
        }
        let mut other = Optimizer::new(config, slots).unwrap();
        let state: HashMap<_, _> = optimizer.state().unwrap().into_iter().collect();
        other.load_state(&state).unwrap();
        assert_eq!(other.slots.iter().map(|slot| slot.steps).collect::<Vec<_>>(), [1, 4]);
        other.load_state(&state.into_iter().filter(|(name, _)| name != "steps_of_each").collect()).unwrap();
        assert_eq!(other.slots.iter().map(|slot| slot.steps).collect::<Vec<_>>(), [4, 4]);
    }

    /// Where one step takes matrices and vectors of all groups from 2, by a gradient of 3 and half of the rate.
    fn after_a_step(config: &OptimizerConfig) -> Vec<[f32; 2]> {
        let var = |shape: &[usize]| Var::from_tensor(&Tensor::full(2f32, shape, &Device::Cpu).unwrap()).unwrap();
        let groups = [Group::Backbone, Group::Head, Group::Proxies];
        let vars = groups.map(|_| [var(&[1, 1]), var(&[1])]);
        let slots = groups.iter().zip(&vars).flat_map(|(&group, vars)| vars.iter().map(move |var| (group, var)));
        let slots = slots.enumerate().map(|(i, (group, var))| (i.to_string(), var.clone(), group)).collect();
        let sum = vars.iter().flatten().map(|var| var.sum_all().unwrap());
        let loss = sum.reduce(|a, b| (a + b).unwrap()).unwrap().affine(3.0, 0.0).unwrap();
        Optimizer::new(config.clone(), slots).unwrap().step(&loss.backward().unwrap(), 0.5).unwrap();
        let value = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        vars.iter().map(|[matrix, vector]| [value(matrix), value(vector)]).collect()
    }

    #[test]
    fn each_group_learns_at_its_rate_and_vectors_decay_only_if_asked() {
        for decay_all in [false, true] {
            let config = OptimizerConfig {
                lr: 0.2,
                backbone_lr_factor: 0.1,
                proxy_lr_factor: 10.0,
                weight_decay: 0.25,
                momentum: Some(0.0),
                decay_all,
                ..Default::default()
            };
            let rates = [0.01f32, 0.1, 1.0];
            let decays = [0.25, if decay_all { 0.25f32 } else { 0.0 }];
            // SGD: w − r (g + λw). AdamW, in its first step: w − r λ w − r g / |g|.
            let sgd = rates.map(|rate| decays.map(|decay| 2.0 - rate * (3.0 + 2.0 * decay)));
            let adamw = rates.map(|rate| decays.map(|decay| 2.0 - rate * (2.0 * decay + 1.0)));
            for (kind, wanted) in [(Kind::Sgd, sgd), (Kind::AdamW, adamw)] {
                let found = after_a_step(&OptimizerConfig { kind, ..config.clone() });
                let pairs = found.iter().flatten().zip(wanted.iter().flatten());
                assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "{kind:?}: {found:?}, want {wanted:?}");
            }
        }
    }

    #[test]
    fn what_stands_still_has_no_part_in_the_norm() {
        let var = |value: f32| Var::from_tensor(&Tensor::new(&[value], &Device::Cpu).unwrap()).unwrap();
        let (backbone, head) = (var(300.0), var(2.0));
        let config = OptimizerConfig {
            kind: Kind::Sgd,
            momentum: Some(0.0),
            lr: 1.0,
            clip_norm: 1.0,
            backbone_frozen_steps: 1,
            ..Default::default()
        };
        let slots = [("a", &backbone, Group::Backbone), ("b", &head, Group::Head)];
        let slots = slots.map(|(name, var, group)| (name.to_owned(), var.clone(), group)).to_vec();
        let mut optimizer = Optimizer::new(config, slots).unwrap();
        let mut step = || {
            let half = (backbone.sqr().unwrap() + head.sqr().unwrap()).unwrap().sum_all().unwrap().affine(0.5, 0.0);
            optimizer.step(&half.unwrap().backward().unwrap(), 1.0).unwrap()
        };
        assert_eq!((step(), head.to_vec1::<f32>().unwrap()), (2.0, vec![1.0]));
        // Both move now: the gradient is (300, 1), and the head's part of a step of length 1 is small.
        assert!((step() - 90_001f64.sqrt()).abs() < 1e-3);
        assert!((head.to_vec1::<f32>().unwrap()[0] - 1.0 + 1.0 / 300.0).abs() < 1e-4);
    }

    #[test]
    fn a_gradient_that_is_no_number_is_named_and_moves_nothing() {
        for (clip_value, clip_norm) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let var = |values: [f32; 2]| Var::from_tensor(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
                let (sound, other) = (var([1.0, 2.0]), var([3.0, 4.0]));
                let config = OptimizerConfig { clip_value, clip_norm, ..OptimizerConfig::default() };
                let slots = [("sound", &sound), ("other", &other)].map(|(n, v)| (n.to_owned(), v.clone(), Group::Head));
                let mut optimizer = Optimizer::new(config, slots.to_vec()).unwrap();
                let factor = Tensor::new(&[1f32, broken], &Device::Cpu).unwrap();
                let loss =
                    (sound.sum_all().unwrap() + (other.as_tensor() * factor).unwrap().sum_all().unwrap()).unwrap();
                let outcome = optimizer.step(&loss.backward().unwrap(), 1.0);
                assert!(outcome.unwrap_err().to_string().contains("the gradient of other is not finite"));
                assert_eq!(sound.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
                assert_eq!(optimizer.steps, 0);
            }
        }
    }
}
