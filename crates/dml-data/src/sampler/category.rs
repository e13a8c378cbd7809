//! Batches of a few categories, with classes that do not come again before the others of their category.

use super::classes::{Hierarchy, check_at_least};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::{SliceRandom, index};

/// Batches of c categories × p classes each × K images each, with distinct classes over the batches of an epoch.
///
/// A batch takes c of the categories that still have unused classes, and of each p unused classes. Where fewer than p
/// are unused, all of them come and the others are drawn from the used ones. A category without unused classes is out;
/// when fewer than c are left, all classes count as unused again. A class with fewer than K images gives all of them,
/// then begins again. A batch is always c·p·K indices, class by class, category by category.
///
/// The rule of Open Metric Learning's `DistinctCategoryBalanceSampler`.
#[derive(Debug, Clone)]
pub struct DistinctCategorySampler {
    hierarchy: Hierarchy,
    categories_per_batch: usize,
    classes_per_category: usize,
    samples_per_class: usize,
    batches: usize,
    seed: u64,
}

impl DistinctCategorySampler {
    /// A sampler over images with `labels` and `categories` (one each per image) that deals `batches` batches an epoch,
    /// with c = `categories_per_batch`, p = `classes_per_category`, K = `samples_per_class`.
    ///
    /// # Errors
    /// When a class lies in two categories, a size is 0, c·p < 2, there are fewer than c categories or one of them has
    /// fewer than p classes.
    pub fn new(
        labels: &[u32],
        categories: &[u32],
        categories_per_batch: usize,
        classes_per_category: usize,
        samples_per_class: usize,
        batches: usize,
        seed: u64,
    ) -> Result<Self> {
        let hierarchy = Hierarchy::of(labels, categories)?;
        for (key, value) in [
            ("sampler.categories", categories_per_batch),
            ("sampler.classes", classes_per_category),
            ("sampler.per_class", samples_per_class),
        ] {
            check_at_least(key, value, 1, "a batch is empty")?;
        }
        check_at_least("sampler.batches", batches, 1, "an epoch is empty")?;
        if categories_per_batch == 1 {
            check_at_least("sampler.classes", classes_per_category, 2, "a batch of one class has no negatives")?;
        }
        let available = hierarchy.supers.len();
        if categories_per_batch > available {
            return Err(Error::Sampler(format!(
                "sampler.categories = {categories_per_batch} but the split has {available}: lower it to {available} or less"
            )));
        }
        let smallest = hierarchy.supers.sizes().min().unwrap_or(0);
        if classes_per_category > smallest {
            return Err(Error::Sampler(format!(
                "sampler.classes = {classes_per_category} of each category but the smallest has {smallest}: lower \
                 sampler.classes to {smallest} or less"
            )));
        }
        Ok(Self { hierarchy, categories_per_batch, classes_per_category, samples_per_class, batches, seed })
    }
}

impl BatchSampler for DistinctCategorySampler {
    fn batches_per_epoch(&self) -> usize {
        self.batches
    }

    fn plan(&self, epoch: u64) -> Plan {
        let Hierarchy { classes, supers: categories } = &self.hierarchy;
        let (c, p, k) = (self.categories_per_batch, self.classes_per_category, self.samples_per_class);
        let mut rng = stream(self.seed, Purpose::Deal, (epoch, 0));
        let mut plan = Plan::with_capacity(self.batches, self.batches * c * p * k);
        // The classes of each category; the first `used` of them have come since all were fresh.
        let mut decks = categories.images().to_vec();
        let mut used = vec![0; categories.len()];
        let mut fresh: Vec<u32> = Vec::new();
        let mut drawn: Vec<u32> = Vec::with_capacity(p);
        for _ in 0..self.batches {
            if fresh.len() < c {
                fresh = (0..categories.len() as u32).collect();
                used.fill(0);
                (0..categories.len()).for_each(|category| decks[categories.range(category)].shuffle(&mut rng));
            }
            let (chosen, _) = fresh.partial_shuffle(&mut rng, c);
            for &category in &*chosen {
                let category = category as usize;
                let (come, unused) = decks[categories.range(category)].split_at(used[category]);
                let new = p.min(unused.len());
                drawn.clear();
                drawn.extend_from_slice(&unused[..new]);
                drawn.extend(index::sample(&mut rng, come.len(), p - new).into_iter().map(|i| come[i]));
                used[category] += new;
                drawn.iter().for_each(|&class| classes.draw(class as usize, k, &mut rng, plan.open()));
            }
            plan.end_batch();
            fresh.retain(|&category| used[category as usize] < categories.range(category as usize).len());
        }
        plan
    }
}
