//! Episodes: the batches of few-shot training.

use super::classes::{Classes, check_at_least, check_classes};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::index;

/// Episodes of `ways` classes with `support + query` different images each (Vinyals et al., 2016, "Matching Networks").
///
/// A batch holds the classes one after another; of each class first the support images, then the query images.
/// Classes and images are drawn afresh, without replacement, for every episode.
#[derive(Debug, Clone)]
pub struct EpisodicSampler {
    classes: Classes,
    ways: usize,
    support: usize,
    per_class: usize,
    episodes: usize,
    seed: u64,
}

impl EpisodicSampler {
    /// A sampler over `labels` that deals `episodes` episodes per epoch.
    ///
    /// # Errors
    /// When `ways` < 2, another size is 0, there are fewer than `ways` classes, or a class has fewer than `support + query`
    /// images.
    pub fn new(labels: &[u32], ways: usize, support: usize, query: usize, episodes: usize, seed: u64) -> Result<Self> {
        check_at_least("sampler.classes", ways, 2, "an episode of one class has nothing to tell apart")?;
        check_at_least("sampler.support", support, 1, "a class has no prototype")?;
        if query == 0 {
            return Err(Error::Sampler(format!(
                "sampler.support = {support} leaves no image of a class for queries: raise sampler.per_class to {} or more",
                support.saturating_add(1)
            )));
        }
        check_at_least("episodes", episodes, 1, "an epoch is empty")?;
        let classes = Classes::of(labels)?;
        check_classes("an episode", "sampler.classes", ways, classes.len())?;
        let per_class = support.saturating_add(query);
        let smallest = classes.sizes().min().unwrap_or(0);
        if smallest < per_class {
            return Err(Error::Sampler(format!(
                "an episode wants sampler.per_class = {per_class} different images ({support} support, {query} query) but the \
                 smallest class has {smallest}: lower sampler.per_class to {smallest} or less"
            )));
        }
        Ok(Self { classes, ways, support, per_class, episodes, seed })
    }

    /// The support and the query images of one episode of this sampler, each class by class.
    pub fn split(&self, episode: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let parts = episode.chunks(self.per_class).map(|images| images.split_at(self.support.min(images.len())));
        let (support, query): (Vec<&[u32]>, Vec<&[u32]>) = parts.unzip();
        (support.concat(), query.concat())
    }
}

impl BatchSampler for EpisodicSampler {
    fn batches_per_epoch(&self) -> usize {
        self.episodes
    }

    fn plan(&self, epoch: u64) -> Plan {
        let mut plan = Plan::with_capacity(self.episodes, self.episodes * self.ways * self.per_class);
        for episode in 0..self.episodes {
            let mut rng = stream(self.seed, Purpose::Episode, (epoch, episode as u64));
            for class in index::sample(&mut rng, self.classes.len(), self.ways) {
                self.classes.draw(class, self.per_class, &mut rng, plan.open());
            }
            plan.end_batch();
        }
        plan
    }
}
