//! A loss of views of the same samples, without labels.
//!
//! Row i of the embeddings and row i of each block of n references are views of sample i: positives of each other, and of nobody else.
//! Symmetric: all views in one batch, each an anchor. Otherwise the embeddings are the anchors and the other views their
//! references. As pytorch-metric-learning's `SelfSupervisedLoss`, for any loss that takes labels.

use crate::error::setting;
use crate::{Batch, Error, Evaluation, Objective, References, Result, Supervision};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings of a loss without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfSupervisedConfig {
    /// Whether every view is an anchor, or the embeddings only. Default true.
    pub symmetric: bool,
}

impl Default for SelfSupervisedConfig {
    fn default() -> Self {
        Self { symmetric: true }
    }
}

/// A loss of views. What supervision the batch has is not looked at.
pub struct SelfSupervised {
    base: Box<dyn Objective>,
    symmetric: bool,
}

impl SelfSupervised {
    /// Around a loss that learns nothing of classes, which must take references if not symmetric, and must not need them if
    /// symmetric.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(base: Box<dyn Objective>, config: SelfSupervisedConfig) -> Result<Self> {
        if base.learns_classes() {
            let problem = "numbers the samples of each batch anew, and the loss learns something for each class: want one \
                           that compares the batch alone, such as nt_xent";
            return Err(setting("self_supervised", problem));
        }
        if config.symmetric && base.needs_references() {
            let problem =
                "symmetric makes one batch of all views, and the loss compares them row by row: want symmetric = false";
            return Err(setting("self_supervised", problem));
        }
        if config.symmetric || base.takes_references() {
            return Ok(Self { base, symmetric: config.symmetric });
        }
        let problem =
            "the loss takes no references: want symmetric = true, or one that takes references such as contrastive";
        Err(setting("self_supervised", problem))
    }

    /// The loss of views `[n, d]` and `[k·n, d]`.
    ///
    /// # Errors
    /// As [`Objective::evaluate`].
    pub fn views(&mut self, embeddings: &Tensor, others: &Tensor) -> Result<Evaluation> {
        let nothing = Supervision::Labels(Vec::new());
        let references = References { embeddings: others, supervision: &nothing, self_offset: None };
        self.evaluate(&Batch { references: Some(references), ..Batch::new(embeddings, &nothing) })
    }
}

impl Objective for SelfSupervised {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_tuples("self_supervised")?;
        let (n, m) = batch.sizes()?;
        let Some(others) = batch.references else {
            return Err(Error::Labels("self_supervised compares views: give the second one as references".to_owned()));
        };
        if n == 0 || m == 0 || m % n != 0 {
            return Err(Error::Labels(format!(
                "self_supervised has {n} rows and {m} of other views: want as many, in the same order, of each view"
            )));
        }
        let labels = |rows: usize| Supervision::Labels((0..rows as u64).map(|i| i % n as u64).collect());
        if self.symmetric {
            let other = others.embeddings.to_dtype(batch.embeddings.dtype())?;
            let all = Tensor::cat(&[batch.embeddings, &other], 0)?;
            return self.base.evaluate(&Batch::new(&all, &labels(n + m)));
        }
        let (own, supervision) = (labels(n), labels(m));
        let references = References { embeddings: others.embeddings, supervision: &supervision, self_offset: None };
        self.base.evaluate(&Batch { references: Some(references), ..Batch::new(batch.embeddings, &own) })
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn needs_references(&self) -> bool {
        true
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
