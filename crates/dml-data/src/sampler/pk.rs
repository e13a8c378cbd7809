//! P classes × K images: the batches of pair, triplet and proxy losses.

use super::{BatchSampler, check_classes, images_by_class};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
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
    images: Vec<Vec<usize>>,
    classes_per_batch: usize,
    samples_per_class: usize,
    seed: u64,
}

impl PkSampler {
    /// A sampler over `labels` (one per image) with P = `classes_per_batch` and K = `samples_per_class`.
    ///
    /// # Errors
    /// When P or K is 0, or P is larger than the number of classes that have images.
    pub fn new(labels: &[u32], classes_per_batch: usize, samples_per_class: usize, seed: u64) -> Result<Self> {
        let images = images_by_class(labels);
        check_classes("a P×K batch", "sampler.classes", classes_per_batch, images.len())?;
        if samples_per_class == 0 {
            return Err(Error::Sampler(
                "a P×K batch wants sampler.per_class = 0 images per class: give at least 1".into(),
            ));
        }
        Ok(Self { images, classes_per_batch, samples_per_class, seed })
    }

    /// The K images class `class` gives when it is dealt for the `draw`-th time.
    fn deal(&self, class: usize, draw: u64) -> Vec<usize> {
        let k = self.samples_per_class;
        let draws_per_stack = (self.images[class].len() / k).max(1) as u64;
        let (stack, slot) = (draw / draws_per_stack, (draw % draws_per_stack) as usize);
        let mut rng = stream(self.seed, Purpose::Images, (class as u64, stack));
        let mut images = self.images[class].clone();
        images.shuffle(&mut rng);
        images.into_iter().cycle().skip(slot * k).take(k).collect()
    }

    /// K images for a class that is dealt a second time in an epoch.
    fn deal_again(&self, class: usize, epoch: u64) -> Vec<usize> {
        let mut images = self.images[class].clone();
        images.shuffle(&mut stream(self.seed, Purpose::Fill, (epoch, class as u64)));
        images.into_iter().cycle().take(self.samples_per_class).collect()
    }
}

impl BatchSampler for PkSampler {
    fn batches_per_epoch(&self) -> usize {
        self.images.len().div_ceil(self.classes_per_batch)
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.images.len()).collect();
        order.shuffle(&mut stream(self.seed, Purpose::Classes, (epoch, 0)));
        let mut batches: Vec<Vec<usize>> = order
            .chunks(self.classes_per_batch)
            .map(|classes| classes.iter().flat_map(|&class| self.deal(class, epoch)).collect())
            .collect();
        let lacking = self.batches_per_epoch() * self.classes_per_batch - order.len();
        let fill = order[..lacking].iter().flat_map(|&class| self.deal_again(class, epoch));
        batches.last_mut().expect("there is at least one class").extend(fill);
        batches
    }
}
