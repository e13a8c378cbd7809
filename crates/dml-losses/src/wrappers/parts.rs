//! Several objectives as one: a weighted sum, with names that tell them apart.

use crate::{Batch, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use std::collections::HashMap;

/// An objective of several.
pub(crate) struct Part {
    /// Stands before the names of its parameters and its state.
    pub(crate) name: String,
    /// What it is multiplied by.
    pub(crate) weight: f64,
    pub(crate) objective: Box<dyn Objective>,
}

impl Part {
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

/// All of them.
pub(crate) struct Parts(pub(crate) Vec<Part>);

impl Parts {
    pub(crate) fn all(&self, asked: impl Fn(&dyn Objective) -> bool) -> bool {
        self.0.iter().all(|part| asked(part.objective.as_ref()))
    }

    pub(crate) fn any(&self, asked: impl Fn(&dyn Objective) -> bool) -> bool {
        self.0.iter().any(|part| asked(part.objective.as_ref()))
    }

    pub(crate) fn reset(&mut self) {
        self.0.iter_mut().for_each(|part| part.objective.reset());
    }

    pub(crate) fn parameters(&self) -> Vec<(String, Var)> {
        let of = |part: &Part| {
            part.objective.parameters().into_iter().map(|(name, var)| (part.own(&name), var)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    pub(crate) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for part in &self.0 {
            all.extend(part.objective.state()?.into_iter().map(|(name, tensor)| (part.own(&name), tensor)));
        }
        Ok(all)
    }

    pub(crate) fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        for part in &mut self.0 {
            let prefix = part.own("");
            let own =
                |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone()));
            let own: HashMap<String, Tensor> = state.iter().filter_map(own).collect();
            part.objective.load_state(&own)?;
        }
        Ok(())
    }
}

/// Adds an evaluation, weighted; the statistics are those of the first.
pub(crate) fn add(sum: Option<Evaluation>, one: Evaluation, weight: f64) -> Result<Evaluation> {
    let weighted = (one.loss * weight)?;
    Ok(match sum {
        None => Evaluation { loss: weighted, ..one },
        Some(sum) => Evaluation { loss: (&sum.loss + weighted.to_dtype(sum.loss.dtype())?)?, ..sum },
    })
}

impl Part {
    pub(crate) fn evaluate(&mut self, batch: &Batch<'_>, sum: Option<Evaluation>) -> Result<Evaluation> {
        let one = self.objective.evaluate(batch)?;
        add(sum, one, self.weight)
    }
}
