//! Plain shuffled batches.

use super::classes::{check_at_least, check_samples};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::SliceRandom;

/// Shuffled batches that know no classes; every sample comes in every epoch.
///
/// A batch always has the same size: when that does not divide the number of samples the last batch is filled with the
/// first samples of the epoch, which it cannot already hold. A batch may hold no two samples of a class:
/// [`MinKSampler`](super::MinKSampler) sees to that.
#[derive(Debug, Clone)]
pub struct RandomSampler {
    samples: usize,
    batch: usize,
    seed: u64,
}

impl RandomSampler {
    /// A sampler over `samples` samples in batches of `batch`.
    ///
    /// # Errors
    /// When `batch` < 2 or there are fewer samples than that.
    pub fn new(samples: usize, batch: usize, seed: u64) -> Result<Self> {
        check_samples(samples)?;
        check_at_least("sampler.batch", batch, 2, "a batch of one sample has no pairs")?;
        check_fits(batch, samples)?;
        Ok(Self { samples, batch, seed })
    }
}

/// Refuses batches of more samples than there are.
pub(super) fn check_fits(batch: usize, samples: usize) -> Result<()> {
    if batch > samples {
        return Err(Error::Sampler(format!(
            "sampler.batch = {batch} but the split has {samples} samples: lower sampler.batch to {samples} or less"
        )));
    }
    Ok(())
}

impl BatchSampler for RandomSampler {
    fn batches_per_epoch(&self) -> usize {
        self.samples.div_ceil(self.batch)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let batches = self.batches_per_epoch();
        let mut order: Vec<u32> = Vec::with_capacity(batches * self.batch);
        order.extend(0..self.samples as u32);
        order.shuffle(&mut stream(self.seed, Purpose::Deal, (epoch, 0)));
        order.extend_from_within(..batches * self.batch - self.samples);
        Plan::in_batches_of(self.batch, order)
    }
}
