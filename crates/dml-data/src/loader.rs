//! Prepares batches ahead of the step that needs them.

use crate::sampler::Plan;
use crate::{Augment, Batch, BatchSampler, Dataset, Error, Normalize, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Batches held ready. Two are enough to hide the work when a step takes longer than a batch, as it should.
const AHEAD: usize = 2;

/// An endless, ordered stream of training batches, prepared on a thread of its own.
///
/// Step `s` is batch `s % b` of epoch `s / b`, with `b` batches per epoch. The first error is delivered in its place and
/// ends the stream. Dropping the loader stops the thread.
#[derive(Debug)]
pub struct Loader {
    batches: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
    step: u64,
}

impl Loader {
    /// A stream that begins at `start_step`; `seed` is for the augmentation (the sampler has its own).
    ///
    /// An `augment` or `normalize` that does not fit is the stream's first and only item.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        sampler: Box<dyn BatchSampler>,
        augment: Augment,
        normalize: Normalize,
        seed: u64,
        start_step: u64,
    ) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        let producer = Producer { dataset, sampler, augment, normalize, seed, epoch: None };
        let thread = std::thread::spawn(move || {
            let mut producer = producer;
            for step in start_step.. {
                let batch = producer.batch(step);
                let last = batch.is_err();
                // A closed channel means that the loader was dropped.
                if sender.send(batch).is_err() || last {
                    return;
                }
            }
        });
        Self { batches: Some(receiver), thread: Some(thread), step: start_step }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => {
                self.step += 1;
                if batch.is_err() {
                    self.batches = None;
                }
                Some(batch)
            }
            // The producer only hangs up after an error, so it must have panicked.
            Err(_) => {
                self.batches = None;
                Some(Err(Error::LoaderPanicked { step: self.step }))
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Closing the channel first wakes a producer that waits for room.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported as an item or nobody waits for it any more.
            let _ = thread.join();
        }
    }
}

struct Producer {
    dataset: Arc<dyn Dataset>,
    sampler: Box<dyn BatchSampler>,
    augment: Augment,
    normalize: Normalize,
    seed: u64,
    epoch: Option<(u64, Plan)>,
}

impl Producer {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let indices = self.indices(step)?;
        Batch::prepare(self.dataset.as_ref(), indices, Some((&self.augment, self.seed)), &self.normalize, step)
    }

    fn indices(&mut self, step: u64) -> Result<Vec<usize>> {
        let per_epoch = self.sampler.batches_per_epoch() as u64;
        if per_epoch == 0 {
            return Err(Error::Sampler("the sampler deals 0 batches per epoch: give it data".into()));
        }
        let (epoch, position) = (step / per_epoch, (step % per_epoch) as usize);
        if self.epoch.as_ref().is_none_or(|(current, _)| *current != epoch) {
            self.augment.check()?;
            self.normalize.check(self.dataset.shape()[0])?;
            self.epoch = Some((epoch, self.sampler.plan(epoch)));
        }
        let (_, plan) = self.epoch.as_ref().expect("set above");
        let batch: Vec<usize> = plan.get(position).unwrap_or_default().iter().map(|&index| index as usize).collect();
        let images = self.dataset.len();
        match batch.iter().find(|&&index| index >= images) {
            Some(index) => Err(Error::Sampler(format!(
                "the sampler deals image {index} but there are {images}: give it this set's labels"
            ))),
            None if batch.is_empty() => {
                Err(Error::Sampler(format!("the sampler dealt no images for batch {position} of epoch {epoch}")))
            }
            None => Ok(batch),
        }
    }
}
