//! How long, what is kept and what is chosen, as a recipe says it.

use crate::{Error, Result};
use dml_models::Precision;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long, and how often something is kept or measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Steps between checkpoints. Default 50.
    pub checkpoint_every: u64,
    /// Minutes after a checkpoint when the next is due even if `checkpoint_every` is not; 0 (default): steps alone decide.
    pub checkpoint_minutes: f64,
    /// Checkpoints that are kept, the newest ones: an older one stands in for one that is damaged. Default 2.
    pub keep: usize,
    /// Inputs that the encoder embeds at a time; 0 (default): the whole batch. Embeddings of all chunks make one loss, then each chunk
    /// is embedded again for its gradient (Gao et al., *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*,
    /// 2021): the gradient of the whole batch in the memory of a chunk. Wants `model.freeze_norms`, or a network without batch
    /// norms, and no dropout.
    pub chunk: usize,
    /// What linear layers multiply in training: `f32` (default), or `bf16`, as autocast does: sooner where the device has it, and no
    /// longer the same numbers. Measurements are of `f32`.
    pub precision: Precision,
    /// Batches whose mean gradient makes a step. Default 1. Pairs are those within each batch: for the gradient of one large
    /// batch see `chunk`.
    pub accumulate: u64,
    /// Share of the old weights in a moving mean of the weights that is kept beside them and is what is measured in the end, e.g.
    /// 0.999; 0 (default): none.
    pub ema: f64,
    /// Steps between measurements of what is held out to choose by, or of the test with `evaluate = "best_on_test"`; 0 (default):
    /// only at the end. It is MAP@R on the validation classes; of images with texts the mean of both ways' MAP@R; of pairs
    /// Spearman's correlation.
    pub validate_every: u64,
    /// Measurements without a better one after which training stops; 0 (default): never.
    pub patience: u64,
    /// Which weights are measured in the end and written as the encoder. Default `last`.
    pub evaluate: Evaluated,
}

/// Which weights are the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluated {
    /// Those after the last step.
    #[default]
    Last,
    /// Those that did best on the validation classes or pairs, by what [`TrainConfig::validate_every`] measures.
    BestOnValidation,
    /// Those that did best on the test classes, by R@1, or of images with texts by the mean of both ways' MAP@R: how many papers
    /// chose theirs. Only to compare with them: a figure chosen by what it reports is too good.
    BestOnTest,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 0,
            checkpoint_every: 50,
            checkpoint_minutes: 0.0,
            keep: 2,
            chunk: 0,
            precision: Precision::F32,
            accumulate: 1,
            ema: 0.0,
            validate_every: 0,
            patience: 0,
            evaluate: Evaluated::Last,
        }
    }
}

impl TrainConfig {
    /// Whether there is to be a checkpoint after `step`, so long after the last one.
    pub(crate) fn checkpoint_is_due(&self, step: u64, since: Duration) -> bool {
        let minutes = self.checkpoint_minutes;
        step.is_multiple_of(self.checkpoint_every) || (minutes > 0.0 && since.as_secs_f64() >= 60.0 * minutes)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |problem: String| Err(Error::Recipe(problem));
        for (key, value) in [
            ("steps", self.steps),
            ("checkpoint_every", self.checkpoint_every),
            ("keep", self.keep as u64),
            ("accumulate", self.accumulate),
        ] {
            if value == 0 {
                return wrong(format!("train.{key} is 0: want 1 or more"));
            }
        }
        let minutes = self.checkpoint_minutes;
        if !(minutes.is_finite() && minutes >= 0.0) {
            return wrong(format!("train.checkpoint_minutes is {minutes}: want 0 (off) or more"));
        }
        if !(0.0..1.0).contains(&self.ema) {
            return wrong(format!("train.ema is {}: want 0 or more and less than 1", self.ema));
        }
        if self.validate_every > self.steps {
            let (every, steps) = (self.validate_every, self.steps);
            return wrong(format!("train.validate_every is {every}: want at most train.steps, {steps}"));
        }
        let chooses = self.patience > 0 || self.evaluate != Evaluated::Last;
        if chooses && self.validate_every == 0 {
            return wrong(
                "train.patience or train.evaluate chooses by measurements: want train.validate_every of 1 or more"
                    .into(),
            );
        }
        Ok(())
    }
}
