//! A weighted sum of losses.

use super::parts::{Part, Parts};
use crate::autograd::nothing;
use crate::error::setting;
use crate::{Batch, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use std::collections::HashMap;

/// `Σ_k weight_k · loss_k` of the same batch. Parameters and state of loss k have its number before their names; the statistics
/// are those of the first.
pub struct MultipleLosses(Parts);

impl MultipleLosses {
    /// Of losses with their weights.
    ///
    /// # Errors
    /// When there is none, or a weight is no number.
    pub fn new(losses: Vec<(f64, Box<dyn Objective>)>) -> Result<Self> {
        if losses.is_empty() {
            return Err(setting("multiple losses", "there is none: want one or more"));
        }
        if let Some((weight, _)) = losses.iter().find(|(weight, _)| !weight.is_finite()) {
            return Err(setting("multiple losses", format!("weight is {weight}: want a finite number")));
        }
        let part = |(k, (weight, objective)): (usize, (f64, _))| Part { name: k.to_string(), weight, objective };
        Ok(Self(Parts(losses.into_iter().enumerate().map(part).collect())))
    }
}

impl Objective for MultipleLosses {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let mut sum = None;
        for part in &mut self.0.0 {
            sum = Some(part.evaluate(batch, sum)?);
        }
        // Never: there is one or more.
        sum.map_or_else(|| Ok(nothing(&[batch.embeddings])?.into()), Ok)
    }

    fn takes_references(&self) -> bool {
        self.0.all(|loss| loss.takes_references())
    }

    fn takes_tuples(&self) -> bool {
        self.0.all(|loss| loss.takes_tuples())
    }

    fn needs_references(&self) -> bool {
        self.0.any(|loss| loss.needs_references())
    }

    fn learns_classes(&self) -> bool {
        self.0.any(|loss| loss.learns_classes())
    }

    fn takes_reduction(&self) -> bool {
        self.0.all(|loss| loss.takes_reduction())
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.0.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.0.state()
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.0.load_state(state)
    }
}
