//! Where a run stands in the endless sequence of batches.

use super::{BatchSampler, Plan};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The batch that comes next. Save it with a checkpoint; with the sampler's arguments it is all of a sampler's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The batch within the epoch, from 0.
    pub batch: u64,
}

impl Position {
    /// The position of step `step` when an epoch has `batches_per_epoch` batches (at least 1; 0 counts as 1).
    pub fn at_step(step: u64, batches_per_epoch: usize) -> Self {
        let per_epoch = (batches_per_epoch as u64).max(1);
        Self { epoch: step / per_epoch, batch: step % per_epoch }
    }

    /// Steps before this position: the inverse of [`Position::at_step`].
    pub fn step(&self, batches_per_epoch: usize) -> u64 {
        self.epoch * batches_per_epoch as u64 + self.batch
    }

    /// Goes on by one batch, past the end of an epoch to the first of the next.
    pub fn advance(&mut self, batches_per_epoch: usize) {
        self.batch += 1;
        if self.batch >= batches_per_epoch as u64 {
            *self = Self { epoch: self.epoch + 1, batch: 0 };
        }
    }
}

/// The endless batches of `sampler` from `position` on.
///
/// # Errors
/// When the position lies beyond its epoch's last batch: it was saved with another sampler or other data.
pub fn batches_from<S: BatchSampler + ?Sized>(sampler: &S, position: Position) -> Result<Batches<'_, S>> {
    let per_epoch = sampler.batches_per_epoch();
    if position.batch >= per_epoch as u64 {
        return Err(Error::Sampler(format!(
            "position.batch = {} but an epoch has {per_epoch} batches: go on with the sampler and data it was saved with",
            position.batch
        )));
    }
    Ok(Batches { sampler, position, plan: None })
}

/// An endless iterator over batches that knows its position; made by [`batches_from`].
#[derive(Debug, Clone)]
pub struct Batches<'a, S: ?Sized> {
    sampler: &'a S,
    position: Position,
    plan: Option<(u64, Plan)>,
}

impl<S: ?Sized> Batches<'_, S> {
    /// The position of the batch that `next` gives.
    pub fn position(&self) -> Position {
        self.position
    }
}

impl<S: BatchSampler + ?Sized> Iterator for Batches<'_, S> {
    type Item = Vec<u32>;

    fn next(&mut self) -> Option<Vec<u32>> {
        let Position { epoch, batch } = self.position;
        let plan = match self.plan.take() {
            Some((planned, plan)) if planned == epoch => plan,
            _ => self.sampler.plan(epoch),
        };
        let indices = plan.get(batch as usize)?.to_vec();
        self.plan = Some((epoch, plan));
        self.position.advance(self.sampler.batches_per_epoch());
        Some(indices)
    }
}
