//! A loss with regularisers of its embeddings or its parameters added.

use crate::error::setting;
use crate::regularizer::{EMBEDDINGS, RegularizerConfig};
use crate::row_loss::wide;
use crate::{Batch, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use std::collections::HashMap;

/// `L + Σ weight · regulariser(rows)`. The embeddings are regularised as the encoder gave them.
pub struct Regularized {
    base: Box<dyn Objective>,
    regularizers: Vec<RegularizerConfig>,
}

/// Whether a parameter is what a regulariser is of: by its whole name, or by the last part of it (`proxies` of `64.proxies`).
fn is_of(name: &str, of: &str) -> bool {
    name == of || name.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'))
}

impl Regularized {
    /// Around a loss.
    ///
    /// # Errors
    /// When the loss has not the parameter that a regulariser is of, or a setting has no meaning.
    pub fn new(base: Box<dyn Objective>, regularizers: Vec<RegularizerConfig>) -> Result<Self> {
        let names: Vec<String> = base.parameters().into_iter().map(|(name, _)| name).collect();
        for regularizer in &regularizers {
            regularizer.check()?;
            let of = &regularizer.of;
            if of != EMBEDDINGS && !names.iter().any(|name| is_of(name, of)) {
                let known = [&[EMBEDDINGS.to_owned()], &names[..]].concat().join(", ");
                let problem = format!("of is {of:?}, which the loss does not have: use one of {known}");
                return Err(setting(format!("regularizer {}", regularizer.kind.name()), problem));
            }
        }
        Ok(Self { base, regularizers })
    }
}

impl Objective for Regularized {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let mut evaluation = self.base.evaluate(batch)?;
        let parameters = self.base.parameters();
        for regularizer in &self.regularizers {
            let rows: Vec<&Tensor> = if regularizer.of == EMBEDDINGS {
                vec![batch.embeddings]
            } else {
                let own = parameters.iter().filter(|(name, _)| is_of(name, &regularizer.of));
                own.map(|(_, var)| var.as_tensor()).collect()
            };
            for rows in rows {
                let value = (regularizer.kind.value(&wide(rows)?)? * regularizer.weight)?;
                let loss = &evaluation.loss;
                if loss.rank() != 0 {
                    let problem =
                        "a loss of one number per anchor has no one number to add to: want another reduction than none";
                    return Err(setting("regularizer", problem));
                }
                evaluation.loss = (loss + value.to_dtype(loss.dtype())?.to_device(loss.device())?)?;
            }
        }
        Ok(evaluation)
    }

    fn takes_references(&self) -> bool {
        self.base.takes_references()
    }

    fn takes_tuples(&self) -> bool {
        self.base.takes_tuples()
    }

    fn needs_references(&self) -> bool {
        self.base.needs_references()
    }

    fn learns_classes(&self) -> bool {
        self.base.learns_classes()
    }

    fn takes_reduction(&self) -> bool {
        self.base.takes_reduction()
    }

    fn reset(&mut self) {
        self.base.reset();
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.base.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.base.state()
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.base.load_state(state)
    }
}
