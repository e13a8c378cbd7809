//! Which images make a batch. A sampler sees labels, never images.

mod episodic;
mod pk;

pub use episodic::EpisodicSampler;
pub use pk::PkSampler;

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Deals the indices of a data set into batches, epoch by epoch.
///
/// `epoch` is a pure function of the sampler's seed and the epoch's number: a run that restarts at step `s` goes on
/// with batch `s % batches_per_epoch()` of epoch `s / batches_per_epoch()` and sees what it would have seen.
pub trait BatchSampler: Send {
    /// Batches in every epoch, at least 1.
    fn batches_per_epoch(&self) -> usize;
    /// The batches of an epoch: indices into the data set.
    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>>;
}

/// The images of each class, ascending; classes without images are left out.
fn images_by_class(labels: &[u32]) -> Vec<Vec<usize>> {
    let mut images = BTreeMap::<u32, Vec<usize>>::new();
    for (index, &label) in labels.iter().enumerate() {
        images.entry(label).or_default().push(index);
    }
    images.into_values().collect()
}

/// Refuses zero sizes and batches with more classes than there are.
fn check_classes(what: &str, key: &str, wanted: usize, available: usize) -> Result<()> {
    if wanted == 0 {
        return Err(Error::Sampler(format!("{what} wants {key} = 0 classes: give at least 1")));
    }
    if wanted > available {
        return Err(Error::Sampler(format!(
            "{what} wants {key} = {wanted} classes but the split has {available}: lower {key} to {available} or less"
        )));
    }
    Ok(())
}
