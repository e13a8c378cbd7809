//! P classes × K images such that every image comes in every epoch.

use super::classes::{Classes, check_at_least, check_classes};
use super::{BatchSampler, Plan};
use crate::Result;
use crate::rng::{Purpose, stream};
use rand::Rng;
use rand::seq::SliceRandom;

/// What becomes of a class with fewer than K images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Short {
    /// It gives all its images, then begins again within the batch, so that the batch holds K.
    #[default]
    Repeat,
    /// It gives all its images and the batch is smaller.
    Allow,
    /// It is left out of every epoch.
    Drop,
}

/// A place of a batch that no class has yet.
const FREE: u32 = u32::MAX;

/// Batches of P different classes with K images each; every image comes in every epoch ([`PkSampler`](super::PkSampler):
/// every class).
///
/// * Each class shuffles its n images and deals them in g = ⌈n / K⌉ groups of K; the last is filled with its first
///   images, which it cannot already hold. [`Short`] says what becomes of a class with n < K.
/// * An epoch has B = max(⌈Σ g / P⌉, max g) batches: the second when one class is so large that it lies in every batch.
///   Groups are laid out class after class, one to each batch in turn, so that no batch has a class twice. Then each
///   is swapped with one at a random place where the rule still holds (Fisher–Yates that skips forbidden swaps).
/// * What is still free is filled with further groups of the other classes, each class in turn. A batch is always P
///   classes, at least 2, and P·K indices, class by class (fewer with [`Short::Allow`]).
///
/// A plan takes about n·(8 + 4 / K) bytes besides its own indices.
#[derive(Debug, Clone)]
pub struct CoveringPkSampler {
    classes: Classes,
    classes_per_batch: usize,
    samples_per_class: usize,
    short: Short,
    batches: usize,
    seed: u64,
}

impl CoveringPkSampler {
    /// A sampler over `labels` (one per image) with P = `classes_per_batch` and K = `samples_per_class`.
    ///
    /// # Errors
    /// When P < 2, K = 0, or P is larger than the number of classes (with [`Short::Drop`]: of K images or more).
    pub fn new(
        labels: &[u32],
        classes_per_batch: usize,
        samples_per_class: usize,
        short: Short,
        seed: u64,
    ) -> Result<Self> {
        check_at_least("sampler.classes", classes_per_batch, 2, "a batch of one class has no negatives")?;
        check_at_least("sampler.per_class", samples_per_class, 1, "a class gives no images")?;
        let mut classes = Classes::of(labels)?;
        let what = match short {
            Short::Drop => {
                classes = classes.with_at_least(samples_per_class);
                format!("a P×K batch of classes with {samples_per_class} images or more")
            }
            Short::Repeat | Short::Allow => "a P×K batch".into(),
        };
        check_classes(&what, "sampler.classes", classes_per_batch, classes.len())?;
        let groups = || classes.sizes().map(|size| size.div_ceil(samples_per_class));
        let batches = groups().sum::<usize>().div_ceil(classes_per_batch).max(groups().max().unwrap_or(0));
        Ok(Self { classes, classes_per_batch, samples_per_class, short, batches, seed })
    }

    /// The class at each of the B × P places, [`FREE`] where there is none.
    fn places(&self, order: &[u32], rng: &mut impl Rng) -> Vec<u32> {
        let (p, batches) = (self.classes_per_batch, self.batches);
        let mut places = vec![FREE; batches * p];
        let groups = order.iter().flat_map(|&class| {
            let groups = self.classes.range(class as usize).len().div_ceil(self.samples_per_class);
            std::iter::repeat_n(class, groups)
        });
        for (number, class) in groups.enumerate() {
            places[number % batches * p + number / batches] = class;
        }
        for place in (1..places.len()).rev() {
            let other = rng.random_range(0..=place);
            let (class, other_class) = (places[place], places[other]);
            let holds = |place: usize, class| class != FREE && places[place / p * p..][..p].contains(&class);
            if place / p == other / p || !(holds(other, class) || holds(place, other_class)) {
                places.swap(place, other);
            }
        }
        places
    }
}

impl BatchSampler for CoveringPkSampler {
    fn batches_per_epoch(&self) -> usize {
        self.batches
    }

    fn plan(&self, epoch: u64) -> Plan {
        let (p, k) = (self.classes_per_batch, self.samples_per_class);
        let mut rng = stream(self.seed, Purpose::Deal, (epoch, 0));
        let mut images = self.classes.images().to_vec();
        (0..self.classes.len()).for_each(|class| images[self.classes.range(class)].shuffle(&mut rng));
        let mut order: Vec<u32> = (0..self.classes.len() as u32).collect();
        order.shuffle(&mut rng);
        let mut places = self.places(&order, &mut rng);

        let mut plan = Plan::with_capacity(self.batches, places.len() * k);
        let mut dealt = vec![0u32; self.classes.len()];
        let mut last_batch = vec![FREE; self.classes.len()];
        let mut further = order.iter().cycle();
        for (number, classes) in places.chunks_exact_mut(p).enumerate() {
            let number = number as u32;
            classes.iter().filter(|&&class| class != FREE).for_each(|&class| last_batch[class as usize] = number);
            for class in classes {
                if *class == FREE {
                    // There are at least P classes, so one is not in the batch.
                    *class = further.by_ref().copied().find(|&class| last_batch[class as usize] != number).unwrap_or(0);
                    last_batch[*class as usize] = number;
                }
                let images = &images[self.classes.range(*class as usize)];
                let start = dealt[*class as usize] as usize * k % images.len();
                let take = if self.short == Short::Allow { k.min(images.len()) } else { k };
                plan.open().extend(images[start..].iter().chain(images.iter().cycle()).take(take));
                dealt[*class as usize] += 1;
            }
            plan.end_batch();
        }
        plan
    }
}
