//! One rank's share of the batches.

use super::{BatchSampler, Plan};
use crate::{Error, Result};

/// How batches are shared out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShardRule {
    /// Rank r of R takes batches r, r + R, r + 2R, … of an epoch. The last (batches mod R) of an epoch are left out, so
    /// that all ranks have as many. For losses that see one rank's batch.
    #[default]
    Deal,
    /// Rank r of R takes the r-th of R equal pieces of every batch. The last (batch mod R) indices of a batch are left
    /// out, so that all pieces are as large. With P×K batches and R dividing P, each rank has whole classes. For losses
    /// that gather the embeddings of all ranks.
    Cut,
}

/// The share of one rank in another sampler's batches.
///
/// All ranks plan the same epoch, which needs no communication, and keep their own part: no two ranks take the same
/// place of a plan, and together they take all but the rest that the [`ShardRule`] names. (A sampler that deals an image
/// twice in an epoch may deal it to two ranks.)
#[derive(Debug, Clone)]
pub struct ShardSampler<S> {
    sampler: S,
    rule: ShardRule,
    rank: usize,
    ranks: usize,
}

impl<S: BatchSampler> ShardSampler<S> {
    /// The share of `rank` (from 0) of `ranks` in the batches of `sampler`, which has the same arguments on all ranks.
    ///
    /// # Errors
    /// When `rank` is not below `ranks`, or an epoch has fewer batches, or the first epoch a batch of fewer indices, than
    /// there are ranks.
    pub fn new(sampler: S, rule: ShardRule, rank: usize, ranks: usize) -> Result<Self> {
        if rank >= ranks {
            return Err(Error::Sampler(format!("rank = {rank} of ranks = {ranks}: give a rank from 0 to ranks − 1")));
        }
        let (what, smallest) = match rule {
            ShardRule::Deal => ("an epoch has only", sampler.batches_per_epoch()),
            ShardRule::Cut => ("a batch has only", sampler.plan(0).iter().map(<[u32]>::len).min().unwrap_or(0)),
        };
        if smallest < ranks {
            let (unit, mend) = match rule {
                ShardRule::Deal => ("batches", "make batches smaller, or cut them (ShardRule::Cut)"),
                ShardRule::Cut => ("indices", "make batches larger, or deal them (ShardRule::Deal)"),
            };
            return Err(Error::Sampler(format!("{what} {smallest} {unit} for ranks = {ranks}: {mend}")));
        }
        Ok(Self { sampler, rule, rank, ranks })
    }
}

impl<S: BatchSampler> BatchSampler for ShardSampler<S> {
    fn batches_per_epoch(&self) -> usize {
        match self.rule {
            ShardRule::Deal => self.sampler.batches_per_epoch() / self.ranks,
            ShardRule::Cut => self.sampler.batches_per_epoch(),
        }
    }

    fn plan(&self, epoch: u64) -> Plan {
        let whole = self.sampler.plan(epoch);
        let batches = self.batches_per_epoch();
        let mut plan = Plan::with_capacity(batches, whole.indices().len() / self.ranks);
        match self.rule {
            ShardRule::Deal => {
                let own = whole.iter().skip(self.rank).step_by(self.ranks).take(batches);
                own.for_each(|batch| plan.push(batch.iter().copied()));
            }
            ShardRule::Cut => whole.iter().for_each(|batch| {
                let piece = batch.len() / self.ranks;
                plan.push(batch[self.rank * piece..][..piece].iter().copied());
            }),
        }
        plan
    }
}
