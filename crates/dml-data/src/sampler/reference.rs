//! Beside each sample that another sampler deals one that may go with it: two streams of batches, row by row.

use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use rand::Rng;
use std::sync::Arc;

/// Deals, for each index of another sampler's batches, one of those that may go with it, e.g. a gallery image for each query. Which one
/// follows from (seed, step, place in the batch): another one each time, and the same again.
#[derive(Clone, Debug)]
pub struct ReferenceSampler<S> {
    sampler: S,
    choices: Arc<Vec<Arc<Vec<u32>>>>,
    seed: u64,
}

impl<S: BatchSampler> ReferenceSampler<S> {
    /// Beside the batches of `sampler`. `choices[i]`: what may go with index `i`, at least one; many indices may share a list. An
    /// index without any is left out, so that its row has nothing beside it.
    pub fn new(sampler: S, choices: Arc<Vec<Arc<Vec<u32>>>>, seed: u64) -> Self {
        Self { sampler, choices, seed }
    }
}

impl<S: BatchSampler> BatchSampler for ReferenceSampler<S> {
    fn batches_per_epoch(&self) -> usize {
        self.sampler.batches_per_epoch()
    }

    fn plan(&self, epoch: u64) -> Plan {
        let dealt = self.sampler.plan(epoch);
        let first = epoch * self.batches_per_epoch() as u64;
        let mut plan = Plan::with_capacity(dealt.len(), dealt.indices().len());
        for (step, batch) in (first..).zip(dealt.iter()) {
            plan.push((0..).zip(batch).filter_map(|(place, &index)| {
                let choices = self.choices.get(index as usize).filter(|choices| !choices.is_empty())?;
                let which = stream(self.seed, Purpose::Reference, (step, place)).random_range(0..choices.len());
                Some(choices[which])
            }));
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PkSampler;

    #[test]
    fn each_has_one_of_its_own_beside_it_and_another_next_time() {
        let labels = [0, 0, 1, 1, 2, 2];
        let of_class: Vec<Arc<Vec<u32>>> =
            (0..3u32).map(|class| Arc::new((0..5).map(|i| 100 * class + i).collect())).collect();
        let choices = Arc::new(labels.iter().map(|&label: &u32| of_class[label as usize].clone()).collect::<Vec<_>>());
        let pk = || PkSampler::new(&labels, 3, 2, 1).unwrap();
        let sampler = ReferenceSampler::new(pk(), choices, 7);
        let mut seen = vec![];
        for epoch in 0..40 {
            let (dealt, beside) = (pk().plan(epoch), sampler.plan(epoch));
            assert_eq!(dealt.len(), beside.len());
            for (batch, references) in dealt.iter().zip(beside.iter()) {
                assert_eq!(batch.len(), references.len());
                assert!(batch.iter().zip(references).all(|(&i, of)| of / 100 == labels[i as usize] && of % 100 < 5));
                seen.extend(references.to_vec());
            }
        }
        assert_eq!(sampler.plan(3), sampler.plan(3));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 15, "some are never drawn");
    }
}
