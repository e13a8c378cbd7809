//! Random batches in which no class is alone.

use super::classes::{Classes, check_at_least};
use super::random::check_fits;
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::Rng;
use rand::seq::{IndexedMutRandom, index};

/// Random batches with at least K images of each of their classes, so that every image has K − 1 positives.
///
/// A batch is drawn image by image, uniformly from the images that it does not hold yet. The first image of a class
/// brings K − 1 others of that class with it; the second class is never the first, so there are always negatives. When
/// fewer than K places are left they go to random classes of the batch, and when these have no images left the batch
/// stays up to K − 1 short. No image comes twice in a batch. Classes with fewer than K images are left out.
///
/// Batches are independent of each other; an epoch is ⌈n / batch⌉ of them and covers neither every image nor every
/// class. With K = 2 it is a stricter form of the batches "SPC-R" of Roth et al., 2020, "Revisiting Training Strategies
/// and Generalization Performance in Deep Metric Learning", which ask for one pair.
#[derive(Debug, Clone)]
pub struct MinKSampler {
    classes: Classes,
    /// The class of each place of `classes.images()`.
    class_at: Vec<u32>,
    batch: usize,
    least: usize,
    seed: u64,
}

impl MinKSampler {
    /// A sampler over `labels` (one per image) in batches of `batch` with K = `least_per_class`.
    ///
    /// # Errors
    /// When K = 0, `batch` < 2·K, or the classes with K images or more are fewer than 2 or have fewer than `batch` images.
    pub fn new(labels: &[u32], batch: usize, least_per_class: usize, seed: u64) -> Result<Self> {
        check_at_least("sampler.per_class", least_per_class, 1, "a class gives no images")?;
        check_at_least("sampler.batch", batch, 2 * least_per_class, "a batch of one class has no negatives")?;
        let classes = Classes::of(labels)?.with_at_least(least_per_class);
        if classes.len() < 2 {
            return Err(Error::Sampler(format!(
                "{} classes have sampler.per_class = {least_per_class} images or more: lower sampler.per_class until 2 do",
                classes.len()
            )));
        }
        check_fits(batch, classes.images().len())?;
        let class_at = classes.sizes().zip(0u32..).flat_map(|(size, class)| std::iter::repeat_n(class, size)).collect();
        Ok(Self { classes, class_at, batch, least: least_per_class, seed })
    }

    /// Appends a batch to `batch`, which already holds other batches.
    fn deal(&self, rng: &mut impl Rng, batch: &mut Vec<u32>) {
        let (end, all) = (batch.len() + self.batch, self.class_at.len());
        let mut members: Vec<Member> = Vec::new();
        while batch.len() < end {
            let room = end - batch.len();
            if room < self.least {
                members.retain(|member| !member.stack.is_empty());
                let Some(member) = members.choose_mut(rng) else { break };
                batch.extend(member.stack.pop());
                continue;
            }
            let class = match members.as_slice() {
                [first] => {
                    let range = self.classes.range(first.class as usize);
                    let place = rng.random_range(0..all - range.len());
                    self.class_at[if place < range.start { place } else { place + range.len() }]
                }
                _ => self.class_at[rng.random_range(0..all)],
            };
            if let Some(member) = members.iter_mut().find(|member| member.class == class) {
                // Which image of the class was hit? One that the batch holds is drawn again.
                if rng.random_range(0..self.classes.range(class as usize).len()) >= member.taken {
                    batch.extend(member.stack.pop());
                    member.taken += 1;
                }
                continue;
            }
            let images = self.classes.get(class as usize);
            // A batch never takes more of a class than its own size.
            let drawn = index::sample(rng, images.len(), self.batch.min(images.len()));
            let mut stack: Vec<u32> = drawn.into_iter().map(|i| images[i]).collect();
            batch.extend(stack.drain(stack.len() - self.least..));
            members.push(Member { class, stack, taken: self.least });
        }
    }
}

/// A class of the batch that is being drawn.
struct Member {
    class: u32,
    /// Images that may still come, in random order.
    stack: Vec<u32>,
    taken: usize,
}

impl BatchSampler for MinKSampler {
    fn batches_per_epoch(&self) -> usize {
        self.class_at.len().div_ceil(self.batch)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let batches = self.batches_per_epoch();
        let mut plan = Plan::with_capacity(batches, batches * self.batch);
        for number in 0..batches {
            self.deal(&mut stream(self.seed, Purpose::Deal, (epoch, number as u64)), plan.open());
            plan.end_batch();
        }
        plan
    }
}
