//! The rule of PyTorch Metric Learning's `MPerClassSampler`.

use super::classes::{Classes, check_at_least, check_classes};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::Rng;
use rand::seq::{SliceRandom, index};

/// Batches by the rule of PyTorch Metric Learning's `MPerClassSampler` (version 2.9.0), for runs that compare with it.
///
/// The classes are drawn afresh for every batch, so an epoch may miss some and give others often; its length has
/// nothing to do with the size of the set. A class with fewer than m images is drawn from *with* replacement, so an
/// image may come several times while another of its class does not. [`PkSampler`](super::PkSampler) has none of this.
#[derive(Debug, Clone)]
pub struct MPerClassSampler {
    classes: Classes,
    samples_per_class: usize,
    batch: usize,
    /// Classes of one draw without replacement: those of a batch, or all of them.
    classes_per_draw: usize,
    /// Images of an epoch's list.
    list: usize,
    seed: u64,
}

impl MPerClassSampler {
    /// PML's default of `length_before_new_iter`.
    pub const LENGTH: usize = 100_000;

    /// `MPerClassSampler(labels, m, batch_size, length_before_new_iter)`: each batch is `batch / m` classes with m images.
    ///
    /// An epoch is `⌊length / batch⌋` batches.
    ///
    /// # Errors
    /// As PML: when m does not divide `batch`, m · (number of classes) < `batch` or `length` < `batch`; and when a batch
    /// has fewer than 2 classes.
    pub fn new(labels: &[u32], m: usize, batch: usize, length: usize, seed: u64) -> Result<Self> {
        let classes = Classes::of(labels)?;
        check_m(m, batch)?;
        if !batch.is_multiple_of(m) {
            return Err(Error::Sampler(format!(
                "sampler.batch = {batch} is no multiple of sampler.per_class = {m}: give {}",
                batch - batch % m
            )));
        }
        check_classes("an m-per-class batch", "sampler.batch / sampler.per_class", batch / m, classes.len())?;
        check_at_least("sampler.length", length, batch, "an epoch is shorter than a batch")?;
        let list = length - length % batch;
        Ok(Self { classes, samples_per_class: m, batch, classes_per_draw: batch / m, list, seed })
    }

    /// `MPerClassSampler(labels, m, None, length_before_new_iter)` under a data loader with `batch_size = batch` and
    /// `drop_last`, as PML's trainers use it.
    ///
    /// The list is made of passes over all classes with m images each: as many as fit `length`, at least one.
    ///
    /// # Errors
    /// When the list is shorter than a batch, or a batch could hold one class only: because it is shorter than 2·m, or
    /// than 3·m and not aligned with the passes.
    pub fn whole_passes(labels: &[u32], m: usize, batch: usize, length: usize, seed: u64) -> Result<Self> {
        let classes = Classes::of(labels)?;
        check_m(m, batch)?;
        check_classes("an m-per-class batch", "classes", 2, classes.len())?;
        let pass = m * classes.len();
        let list = if pass < length { length - length % pass } else { pass };
        if !pass.is_multiple_of(batch) {
            // The last class of a pass may be the first of the next.
            check_at_least("sampler.batch", batch, 3 * m, "a batch across two passes may hold one class only")?;
        }
        check_at_least("sampler.length", list, batch, "an epoch is shorter than a batch")?;
        Ok(Self { classes_per_draw: classes.len(), classes, samples_per_class: m, batch, list, seed })
    }

    /// Appends m images of `class` as PML's `safe_random_choice` does.
    fn draw(&self, class: usize, rng: &mut impl Rng, into: &mut Vec<u32>) {
        let (images, m) = (self.classes.get(class), self.samples_per_class);
        if images.len() < m {
            into.extend((0..m).map(|_| images[rng.random_range(0..images.len())]));
        } else {
            into.extend(index::sample(rng, images.len(), m).into_iter().map(|i| images[i]));
        }
    }
}

fn check_m(m: usize, batch: usize) -> Result<()> {
    check_at_least("sampler.per_class", m, 1, "a class gives no images")?;
    check_at_least("sampler.batch", batch, 2 * m, "a batch of one class has no negatives")
}

impl BatchSampler for MPerClassSampler {
    fn batches_per_epoch(&self) -> usize {
        self.list / self.batch
    }

    fn plan(&self, epoch: u64) -> Plan {
        let mut rng = stream(self.seed, Purpose::Deal, (epoch, 0));
        let mut order: Vec<u32> = (0..self.classes.len() as u32).collect();
        let mut list = Vec::with_capacity(self.list);
        while list.len() < self.list {
            let (drawn, _) = order.partial_shuffle(&mut rng, self.classes_per_draw);
            drawn.iter().for_each(|&class| self.draw(class as usize, &mut rng, &mut list));
        }
        list.truncate(self.batches_per_epoch() * self.batch);
        Plan::in_batches_of(self.batch, list)
    }
}
