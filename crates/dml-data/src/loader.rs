//! Prepares batches ahead of the step that needs them.

use crate::batch::over_zeros;
use crate::image::Unreadable;
use crate::inputs::{AugmentedSet, ByteInputs, Draw, Inputs, write_bytes, write_normalized};
use crate::sampler::{Plan, Position};
use crate::{Augment, Batch, BatchSampler, Dataset, Error, Normalize, Prefetch, Result};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// How far and by how many a loader works ahead, which changes no batch, and what it does with broken files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that prepare whole batches; each shares the work on a batch with rayon's threads. Default 2: one begins the next
    /// batch while the last images of another are still being prepared.
    pub workers: usize,
    /// Batches that wait or are being prepared. Default 2: enough to hide the work when a step takes longer than a batch, as it
    /// should.
    pub ahead: usize,
    /// What becomes of samples whose files cannot be read. Default: the stream ends with the first of them. Left out, they are
    /// named in [`Batch::skipped`].
    pub unreadable: Unreadable,
    /// The step before which the stream ends, so that nothing is prepared that nobody wants; of one that begins there or later
    /// only inputs that do not fit are said. Default none: it is endless.
    pub until: Option<u64>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self { workers: 2, ahead: 2, unreadable: Unreadable::Fail, until: None }
    }
}

/// An ordered stream of training batches, prepared on threads of its own; endless, but for [`LoaderOptions::until`].
///
/// Step `s` is batch `s % b` of epoch `s / b`, with `b` batches per epoch. The first error is delivered in its place and
/// ends the stream. Dropping the loader stops the threads.
#[derive(Debug)]
pub struct Loader<P = f32> {
    batches: Stepped<Batch<P>>,
}

/// A [`Loader`] of images that are not yet normalised.
pub type ByteLoader = Loader<u8>;

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
        let inputs = Arc::new(AugmentedSet { dataset, augment, normalize });
        Self::over(inputs, sampler, (seed, start_step), LoaderOptions::default())
    }

    /// A stream over any inputs, which begins at `start_step`; `seed` is for the augmentation.
    ///
    /// Inputs whose settings do not fit are the stream's first and only item.
    pub fn over(
        inputs: Arc<dyn Inputs>,
        sampler: Box<dyn BatchSampler>,
        (seed, start_step): (u64, u64),
        options: LoaderOptions,
    ) -> Self {
        let (sides, source, bytes) = (inputs.shape(), inputs.clone(), inputs.clone().as_bytes());
        let write: Box<Write<f32>> = Box::new(move |index, draw, room| match &bytes {
            Some(images) => write_normalized(images.as_ref(), index, Some(draw), room),
            None => over_zeros(room, |out| source.write(index, Some(draw), out)),
        });
        Self::writing(inputs, sides, sampler, (seed, start_step), options, write)
    }
}

impl ByteLoader {
    /// As [`Loader::over`], without the normalisation, which [`ByteBatch::to_tensor`](crate::ByteBatch) does on the device.
    pub fn bytes(
        inputs: Arc<dyn ByteInputs>,
        sampler: Box<dyn BatchSampler>,
        (seed, start_step): (u64, u64),
        options: LoaderOptions,
    ) -> Self {
        let ([channels, height, width], source) = (inputs.shape(), inputs.clone());
        let write: Box<Write<u8>> = Box::new(move |index, draw, room| {
            over_zeros(room, |out| write_bytes(source.as_ref(), index, Some(draw), out))
        });
        Self::writing(inputs, [height, width, channels], sampler, (seed, start_step), options, write)
    }
}

/// What writes a sample to its room, and gives it back as what it holds.
type Write<P> = dyn for<'a> Fn(usize, Draw, &'a mut [MaybeUninit<P>]) -> Result<&'a mut [P]> + Send + Sync;

impl<P: Copy + Default + Send + Sync + 'static> Loader<P> {
    /// Batches of what `write` gives for each sample, `sides` of values.
    fn writing(
        inputs: Arc<dyn Inputs>,
        sides: [usize; 3],
        sampler: Box<dyn BatchSampler>,
        (seed, start_step): (u64, u64),
        options: LoaderOptions,
        write: Box<Write<P>>,
    ) -> Self {
        let steps = Steps::new(sampler, inputs.labels().len(), inputs.check().err());
        let prepare = move |Dealt { step, epoch, indices, copies }: Dealt| {
            Batch::prepare(sides, inputs.labels(), indices, options.unreadable, step, |position, index, room| {
                write(index, Draw { seed, epoch, copy: copies[position] }, room)
            })
        };
        Self { batches: Stepped::new(steps, start_step, options, prepare) }
    }
}

impl<P> Iterator for Loader<P> {
    type Item = Result<Batch<P>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// Batches of any kind, step by step, prepared ahead: what loaders have in common.
#[derive(Debug)]
pub(crate) struct Stepped<B> {
    batches: Prefetch<B>,
    start_step: u64,
}

impl<B: Send + 'static> Stepped<B> {
    /// What `prepare` makes of each of the `steps` from `start_step` on.
    pub(crate) fn new(
        mut steps: Steps,
        start_step: u64,
        options: LoaderOptions,
        prepare: impl Fn(Dealt) -> Result<B> + Send + Sync + 'static,
    ) -> Self {
        // Said even where no step is left: a run that is complete would hide it.
        let misfit = steps.misfit.take().map(Err);
        let dealt = (start_step..options.until.unwrap_or(u64::MAX)).map(move |step| steps.deal(step));
        let jobs = misfit.into_iter().chain(dealt);
        let work = move |dealt: Result<Dealt>| prepare(dealt?);
        Self { batches: Prefetch::new(jobs, work, options.workers, options.ahead), start_step }
    }
}

impl<B> Iterator for Stepped<B> {
    type Item = Result<B>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.batches.next()?.map_err(|error| match error {
            // Jobs count from 0.
            Error::LoaderPanicked { step } => Error::LoaderPanicked { step: self.start_step + step },
            other => other,
        }))
    }
}

/// The samples of a step.
pub(crate) struct Dealt {
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) indices: Vec<usize>,
    /// How often the epoch has had each of them before.
    pub(crate) copies: Vec<u32>,
}

/// An epoch, dealt in order.
struct Epoch {
    number: u64,
    plan: Plan,
    /// How often each sample has been dealt, in the batches before `next`.
    dealt: Vec<u32>,
    next: usize,
}

impl Epoch {
    /// How often each sample of batch `batch` has been dealt before; batches that were left out count as dealt.
    fn copies(&mut self, batch: usize) -> Vec<u32> {
        let mut count = |&index: &u32| {
            let dealt = &mut self.dealt[index as usize];
            *dealt += 1;
            *dealt - 1
        };
        let before = (self.next..batch).filter_map(|earlier| self.plan.get(earlier));
        before.flatten().for_each(|index| {
            count(index);
        });
        self.next = batch + 1;
        self.plan.get(batch).unwrap_or_default().iter().map(count).collect()
    }
}

/// Which samples each step gets.
pub(crate) struct Steps {
    sampler: Box<dyn BatchSampler>,
    samples: usize,
    epoch: Option<Epoch>,
    /// What is said before the first step, and ends them.
    misfit: Option<Error>,
}

impl Steps {
    /// Steps over so many samples; a `misfit` is said instead of all.
    pub(crate) fn new(sampler: Box<dyn BatchSampler>, samples: usize, misfit: Option<Error>) -> Self {
        Self { sampler, samples, epoch: None, misfit }
    }

    fn deal(&mut self, step: u64) -> Result<Dealt> {
        let per_epoch = self.sampler.batches_per_epoch();
        if per_epoch == 0 {
            return Err(Error::Sampler("the sampler deals 0 batches per epoch: give it data".into()));
        }
        let Position { epoch, batch: position } = Position::at_step(step, per_epoch);
        let samples = self.samples;
        if self.epoch.as_ref().is_none_or(|current| current.number != epoch) {
            let plan = self.sampler.plan(epoch);
            self.epoch = Some(Epoch { number: epoch, plan, dealt: vec![0; samples], next: 0 });
        }
        let current = self.epoch.as_mut().expect("set above");
        let batch = current.plan.get(position as usize).unwrap_or_default();
        let indices: Vec<usize> = batch.iter().map(|&index| index as usize).collect();
        match indices.iter().find(|&&index| index >= samples) {
            Some(index) => Err(Error::Sampler(format!(
                "the sampler deals sample {index} but there are {samples}: give it this set's labels"
            ))),
            None if indices.is_empty() => {
                Err(Error::Sampler(format!("the sampler dealt no samples for batch {position} of epoch {epoch}")))
            }
            None => Ok(Dealt { step, epoch, indices, copies: current.copies(position as usize) }),
        }
    }
}
