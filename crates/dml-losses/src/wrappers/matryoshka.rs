//! A loss of the first entries of the embeddings, for several lengths at once.
//!
//! `Σ_k weight_k · L(x[:dim_k])`, each with a loss of its own, and the shortened rows brought to length 1 first as sentence-transformers
//! does. Kusupati et al., *Matryoshka Representation Learning*, 2022, eq. 1. Longest first; the statistics are those of the
//! longest.

use super::parts::{Part, Parts};
use crate::autograd::nothing;
use crate::chance::Chance;
use crate::error::setting;
use crate::{Batch, Context, Evaluation, Objective, References, Result};
use candle_core::{Tensor, Var};
use dml_core::Projection;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Which lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatryoshkaConfig {
    /// Lengths of the beginnings, each at most that of an embedding; the whole should be one of them.
    pub dims: Vec<usize>,
    /// What the loss of each is multiplied by. Default 1 each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Whether the beginnings are brought to length 1 before the loss sees them. Default true.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// How many of the lengths are used in a step, drawn anew each time; 0: all. Default 0.
    #[serde(default)]
    pub dims_per_step: usize,
}

fn yes() -> bool {
    true
}

impl MatryoshkaConfig {
    fn check(&self, dim: usize) -> Result<()> {
        let wrong = |problem: String| Err(setting("matryoshka", problem));
        if self.dims.is_empty() {
            return wrong("dims is empty: want lengths of beginnings".to_owned());
        }
        if let Some(d) = self.dims.iter().find(|&&d| d == 0 || d > dim) {
            return wrong(format!("dims has {d}: want 1 to {dim}, the length of an embedding"));
        }
        let twice = |(k, d): (usize, &usize)| self.dims[..k].contains(d);
        if self.dims.iter().enumerate().any(twice) {
            return wrong(format!("dims is {:?}: want each length once", self.dims));
        }
        if self.dims_per_step > self.dims.len() {
            let (some, all) = (self.dims_per_step, self.dims.len());
            return wrong(format!("dims_per_step is {some} of {all} dims: want no more than there are, or 0 for all"));
        }
        let Some(weights) = &self.weights else { return Ok(()) };
        if weights.len() != self.dims.len() {
            return wrong(format!("{} weights for {} dims: want one each", weights.len(), self.dims.len()));
        }
        match weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite())) {
            Some(weight) => wrong(format!("weights has {weight}: want 0 or more")),
            None => Ok(()),
        }
    }
}

/// A loss of several beginnings of the embeddings. Parameters and state have the length before their names.
pub struct Matryoshka {
    /// Longest first.
    parts: Vec<usize>,
    losses: Parts,
    normalize: bool,
    dims_per_step: usize,
    chance: Chance,
}

impl Matryoshka {
    /// Around the losses that `build` makes for each length.
    ///
    /// # Errors
    /// When a setting has no meaning, or `build` fails.
    pub fn new(
        config: &MatryoshkaConfig,
        context: &Context,
        build: impl Fn(&Context) -> Result<Box<dyn Objective>>,
    ) -> Result<Self> {
        config.check(context.dim)?;
        let weights = config.weights.clone().unwrap_or_else(|| vec![1.0; config.dims.len()]);
        let mut dims: Vec<(usize, f64)> = config.dims.iter().copied().zip(weights).collect();
        dims.sort_unstable_by_key(|&(dim, _)| std::cmp::Reverse(dim));
        let mut losses = Vec::with_capacity(dims.len());
        for &(dim, weight) in &dims {
            let objective = build(&Context { dim, ..context.clone() })?;
            losses.push(Part { name: dim.to_string(), weight, objective });
        }
        Ok(Self {
            parts: dims.into_iter().map(|(dim, _)| dim).collect(),
            losses: Parts(losses),
            normalize: config.normalize,
            dims_per_step: config.dims_per_step,
            chance: Chance::new("dims", context.seed),
        })
    }

    /// Those of this step, in order.
    fn chosen(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.parts.len()).collect();
        if self.dims_per_step == 0 || self.dims_per_step == all.len() {
            return all;
        }
        let mut rng = self.chance.step().generator(0);
        for k in 0..self.dims_per_step {
            let other = rng.random_range(k..all.len());
            all.swap(k, other);
        }
        all.truncate(self.dims_per_step);
        all.sort_unstable();
        all
    }

    fn beginning(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        let (_, d) = x.dims2()?;
        if dim > d {
            let problem = format!("embeddings have length {d}, dims has {dim}: build the loss for the model's length");
            return Err(setting("matryoshka", problem));
        }
        let x = x.narrow(1, 0, dim)?.contiguous()?;
        if self.normalize { Ok(Projection::Unit.compose(&crate::row_loss::wide(&x)?)?) } else { Ok(x) }
    }
}

impl Objective for Matryoshka {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.sizes()?;
        let mut sum = None;
        for k in self.chosen() {
            let dim = self.parts[k];
            let embeddings = self.beginning(batch.embeddings, dim)?;
            let others = batch.references.map(|r| self.beginning(r.embeddings, dim)).transpose()?;
            let references = batch.references.zip(others.as_ref());
            let references = references.map(|(r, embeddings)| References { embeddings, ..r });
            let short = Batch { embeddings: &embeddings, references, ..*batch };
            sum = Some(self.losses.0[k].evaluate(&short, sum)?);
        }
        // Never: there is one or more.
        sum.map_or_else(|| Ok(nothing(&[batch.embeddings])?.into()), Ok)
    }

    fn takes_references(&self) -> bool {
        self.losses.all(|loss| loss.takes_references())
    }

    fn takes_tuples(&self) -> bool {
        self.losses.all(|loss| loss.takes_tuples())
    }

    fn needs_references(&self) -> bool {
        self.losses.any(|loss| loss.needs_references())
    }

    fn learns_classes(&self) -> bool {
        self.losses.any(|loss| loss.learns_classes())
    }

    fn takes_reduction(&self) -> bool {
        self.losses.all(|loss| loss.takes_reduction())
    }

    fn reset(&mut self) {
        self.losses.reset();
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.losses.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok([self.losses.state()?, self.chance.state()?].concat())
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.chance.load_state(state)?;
        self.losses.load_state(state)
    }
}
