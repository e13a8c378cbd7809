//! P classes × K images: the batches of pair, triplet and proxy losses.

use super::classes::{Classes, check_at_least, check_classes};
use super::{BatchSampler, Plan};
use crate::Result;
use crate::rng::{Purpose, stream};
use rand::seq::SliceRandom;

/// Batches of P different classes with K images each; every class comes in every epoch.
///
/// * Classes: a new order each epoch, cut into batches of P. When P does not divide their number the last batch is
///   filled with the first classes of the epoch, which it cannot already hold. A batch is always P·K indices, class by class.
/// * Images: each class deals its images from a shuffled stack, K at a time and without replacement; when fewer than K
///   are left it is shuffled anew. A class with fewer than K images gives all of them, then begins again within the batch.
///
/// Introduced for triplets by Hermans et al., 2017, "In Defense of the Triplet Loss for Person Re-Identification".
#[derive(Debug, Clone)]
pub struct PkSampler {
    classes: Classes,
    classes_per_batch: usize,
    samples_per_class: usize,
    seed: u64,
}

impl PkSampler {
    /// A sampler over `labels` (one per image) with P = `classes_per_batch` and K = `samples_per_class`.
    ///
    /// # Errors
    /// When P < 2, K = 0, or P is larger than the number of classes that have images.
    pub fn new(labels: &[u32], classes_per_batch: usize, samples_per_class: usize, seed: u64) -> Result<Self> {
        check_at_least("sampler.classes", classes_per_batch, 2, "a batch of one class has no negatives")?;
        check_at_least("sampler.per_class", samples_per_class, 1, "a class gives no images")?;
        let classes = Classes::of(labels)?;
        check_classes("a P×K batch", "sampler.classes", classes_per_batch, classes.len())?;
        Ok(Self { classes, classes_per_batch, samples_per_class, seed })
    }

    /// Writes the images of `class` in the order of the stream at `position` to `stack`.
    fn stack(&self, class: u32, purpose: Purpose, position: (u64, u64), stack: &mut Vec<u32>) {
        stack.clear();
        stack.extend_from_slice(self.classes.get(class as usize));
        stack.shuffle(&mut stream(self.seed, purpose, position));
    }
}

impl BatchSampler for PkSampler {
    fn batches_per_epoch(&self) -> usize {
        self.classes.len().div_ceil(self.classes_per_batch)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let (p, k, batches) = (self.classes_per_batch, self.samples_per_class, self.batches_per_epoch());
        let mut order: Vec<u32> = (0..self.classes.len() as u32).collect();
        order.shuffle(&mut stream(self.seed, Purpose::Classes, (epoch, 0)));
        let mut plan = Plan::with_capacity(batches, batches * p * k);
        let mut stack = Vec::new();
        for (number, &class) in order.iter().enumerate() {
            if number > 0 && number % p == 0 {
                plan.end_batch();
            }
            // A class is dealt once an epoch: epoch e takes slot e % s of stack e / s, where a stack lasts s epochs.
            let lasts = (self.classes.range(class as usize).len() / k).max(1) as u64;
            self.stack(class, Purpose::Images, (class.into(), epoch / lasts), &mut stack);
            plan.open().extend(stack.iter().cycle().skip((epoch % lasts) as usize * k).take(k));
        }
        for &class in &order[..batches * p - order.len()] {
            self.stack(class, Purpose::Fill, (epoch, class.into()), &mut stack);
            plan.open().extend(stack.iter().cycle().take(k));
        }
        plan.end_batch();
        plan
    }
}
