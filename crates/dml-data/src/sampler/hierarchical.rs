//! Batches of classes from a few super-classes, which makes their negatives hard.

use super::classes::{Hierarchy, check_at_least};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::SliceRandom;

/// Batches of s super-classes, each with classes of its own and K images a class.
///
/// An epoch has t batches for every set of s of the S super-classes, C(S, s) · t in all, in random order. In a batch each
/// super-class gives `batch / s / K` different classes, or all it has when those are fewer (the batch is then smaller);
/// a class with fewer than K images gives all of them, then begins again. Class by class, super-class by super-class.
///
/// The rule of PyTorch Metric Learning's `HierarchicalSampler` (2.9.0), after the batches of Cakir et al., 2019, "Deep
/// Metric Learning to Rank".
#[derive(Debug, Clone)]
pub struct HierarchicalSampler {
    hierarchy: Hierarchy,
    supers_per_batch: usize,
    classes_per_super: usize,
    samples_per_class: usize,
    batches: usize,
    seed: u64,
}

impl HierarchicalSampler {
    /// PML's default of `super_classes_per_batch`.
    pub const SUPERS_PER_BATCH: usize = 2;
    /// PML's default of `batches_per_super_tuple`.
    pub const BATCHES_PER_TUPLE: usize = 4;

    /// A sampler over images with `labels` and `super_labels` (one each per image): batches of `batch` images with
    /// K = `samples_per_class` and s = `supers_per_batch`, t = `batches_per_tuple` for each set of super-classes.
    ///
    /// # Errors
    /// When a class lies in two super-classes, a size is 0, there are fewer than s super-classes, s · K does not divide
    /// `batch`, a batch would hold one class only, or an epoch has more than 2³² − 1 batches.
    pub fn new(
        labels: &[u32],
        super_labels: &[u32],
        batch: usize,
        samples_per_class: usize,
        supers_per_batch: usize,
        batches_per_tuple: usize,
        seed: u64,
    ) -> Result<Self> {
        let hierarchy = Hierarchy::of(labels, super_labels)?;
        let supers = hierarchy.supers.len();
        for (key, value) in [
            ("sampler.per_class", samples_per_class),
            ("sampler.super_classes", supers_per_batch),
            ("sampler.batches_per_tuple", batches_per_tuple),
        ] {
            check_at_least(key, value, 1, "a batch is empty")?;
        }
        if supers_per_batch > supers {
            return Err(Error::Sampler(format!(
                "sampler.super_classes = {supers_per_batch} but the split has {supers}: lower it to {supers} or less"
            )));
        }
        let unit = samples_per_class * supers_per_batch;
        if batch == 0 || !batch.is_multiple_of(unit) {
            return Err(Error::Sampler(format!(
                "sampler.batch = {batch} is no multiple of sampler.super_classes × sampler.per_class = {unit}: give {}",
                batch.div_ceil(unit).max(1) * unit
            )));
        }
        let classes_per_super = batch / unit;
        if supers_per_batch == 1 {
            check_at_least("sampler.batch", batch, 2 * unit, "a batch of one class has no negatives")?;
            if hierarchy.supers.sizes().any(|classes| classes < 2) {
                return Err(Error::Sampler(
                    "sampler.super_classes = 1 but a super-class has one class only, which has no negatives: raise \
                     sampler.super_classes to 2"
                        .into(),
                ));
            }
        }
        // C(S, s) by the product that stays whole at every step.
        let tuples = (0..supers_per_batch).try_fold(1usize, |tuples, chosen| {
            tuples.checked_mul(supers - chosen).map(|product| product / (chosen + 1))
        });
        let batches = tuples.and_then(|tuples| tuples.checked_mul(batches_per_tuple));
        let Some(batches) = batches.filter(|&batches| u32::try_from(batches).is_ok()) else {
            return Err(Error::Sampler(format!(
                "{supers} super-classes in sets of sampler.super_classes = {supers_per_batch} make more than {} batches \
                 an epoch: lower sampler.super_classes",
                u32::MAX
            )));
        };
        Ok(Self { hierarchy, supers_per_batch, classes_per_super, samples_per_class, batches, seed })
    }

    /// All sets of s super-classes, one after another.
    fn tuples(&self) -> Vec<u32> {
        let (supers, s) = (self.hierarchy.supers.len() as u32, self.supers_per_batch);
        let mut tuple: Vec<u32> = (0..s as u32).collect();
        let mut tuples = tuple.clone();
        // The last member that can still rise does, and those behind it follow at once.
        while let Some(member) = (0..s).rev().find(|&member| tuple[member] + ((s - member) as u32) < supers) {
            let next = tuple[member] + 1;
            tuple[member..].iter_mut().zip(next..).for_each(|(member, value)| *member = value);
            tuples.extend_from_slice(&tuple);
        }
        tuples
    }
}

impl BatchSampler for HierarchicalSampler {
    fn batches_per_epoch(&self) -> usize {
        self.batches
    }

    fn plan(&self, epoch: u64) -> Plan {
        let Hierarchy { classes, supers } = &self.hierarchy;
        let tuples = self.tuples();
        let number_of_tuples = tuples.len() / self.supers_per_batch;
        let mut order: Vec<u32> = (0..self.batches as u32).collect();
        order.shuffle(&mut stream(self.seed, Purpose::Deal, (epoch, 0)));
        let size = self.supers_per_batch * self.classes_per_super * self.samples_per_class;
        let mut plan = Plan::with_capacity(self.batches, self.batches * size);
        let mut members = Vec::new();
        for number in order {
            let mut rng = stream(self.seed, Purpose::Deal, (epoch, 1 + u64::from(number)));
            let tuple = &tuples[number as usize % number_of_tuples * self.supers_per_batch..][..self.supers_per_batch];
            for &super_class in tuple {
                members.clear();
                members.extend_from_slice(supers.get(super_class as usize));
                let (drawn, _) = members.partial_shuffle(&mut rng, self.classes_per_super);
                for &class in &*drawn {
                    classes.draw(class as usize, self.samples_per_class, &mut rng, plan.open());
                }
            }
            plan.end_batch();
        }
        plan
    }
}
