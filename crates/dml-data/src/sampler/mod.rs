//! Which images make a batch. A sampler sees labels, never images.
//!
//! | sampler | a batch | an epoch |
//! |---|---|---|
//! | [`PkSampler`] | P classes × K images | every class |
//! | [`CoveringPkSampler`] | P classes × K images | every image |
//! | [`MPerClassSampler`] | P classes × K images, by PML's rule | a fixed length |
//! | [`WeightedPkSampler`] | P classes × K images, classes by size and temperature | as many images as there are |
//! | [`HierarchicalSampler`] | classes of a few super-classes | every set of super-classes |
//! | [`DistinctCategorySampler`] | categories × classes × images, by OML's rule | a fixed length |
//! | [`CoresetSampler`] | P classes × K images, far apart by their embeddings | ⌈classes / P⌉ batches |
//! | [`EpisodicSampler`] | ways × (support + query) | a fixed length |
//! | [`RandomSampler`] | any images | every image |
//! | [`MinKSampler`] | random images, K or more of each class | as many images as there are |
//! | [`WeightedSampler`] | images by weight and temperature | as many images as there are |
//! | [`NoDuplicatesSampler`] | text pairs without a common text | nearly every pair |
//! | [`ReferenceSampler`] | beside another's batch, one of the same class for each | as the other |
//!
//! [`ShardSampler`] gives each rank its share of any of them. [`batches_from`] goes on at any [`Position`].

mod category;
mod classes;
mod coreset;
mod covering_pk;
mod episodic;
mod hierarchical;
mod m_per_class;
mod min_k;
mod no_duplicates;
mod pk;
mod plan;
mod position;
mod random;
mod reference;
mod shard;
mod sum_tree;
mod weighted;

pub use category::DistinctCategorySampler;
pub use coreset::{CoresetOptions, CoresetRule, CoresetSampler, coreset};
pub use covering_pk::{CoveringPkSampler, Short};
pub use episodic::EpisodicSampler;
pub use hierarchical::HierarchicalSampler;
pub use m_per_class::MPerClassSampler;
pub use min_k::MinKSampler;
pub use no_duplicates::NoDuplicatesSampler;
pub use pk::PkSampler;
pub use plan::Plan;
pub use position::{Batches, Position, batches_from};
pub use random::RandomSampler;
pub use reference::ReferenceSampler;
pub use shard::{ShardRule, ShardSampler};
pub use weighted::{WeightedPkSampler, WeightedSampler};

/// Deals the indices of a data set into batches, epoch by epoch.
///
/// A plan is a pure function of the sampler's seed and the epoch's number: a run that restarts at step `s` goes on
/// with batch `s % batches_per_epoch()` of epoch `s / batches_per_epoch()` and sees what it would have seen.
pub trait BatchSampler: Send {
    /// Batches in every epoch, at least 1.
    fn batches_per_epoch(&self) -> usize;
    /// The batches of an epoch: indices into the data set.
    fn plan(&self, epoch: u64) -> Plan;
    /// The same batches, each in a vector of its own.
    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        self.plan(epoch).iter().map(|batch| batch.iter().map(|&index| index as usize).collect()).collect()
    }
}

impl<S: BatchSampler + ?Sized> BatchSampler for Box<S> {
    fn batches_per_epoch(&self) -> usize {
        (**self).batches_per_epoch()
    }

    fn plan(&self, epoch: u64) -> Plan {
        (**self).plan(epoch)
    }
}
