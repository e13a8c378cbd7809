//! Episodes: the batches of few-shot training.

use super::{BatchSampler, check_classes, images_by_class};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::index;

/// Episodes of `ways` classes with `support + query` different images each (Vinyals et al., 2016, "Matching Networks").
///
/// A batch holds the classes one after another; of each class first the support images, then the query images.
/// Classes and images are drawn afresh, without replacement, for every episode.
#[derive(Debug, Clone)]
pub struct EpisodicSampler {
    images: Vec<Vec<usize>>,
    ways: usize,
    per_class: usize,
    episodes: usize,
    seed: u64,
}

impl EpisodicSampler {
    /// A sampler over `labels` that deals `episodes` episodes per epoch.
    ///
    /// # Errors
    /// When a size is 0, there are fewer than `ways` classes, or a class has fewer than `support + query` images.
    pub fn new(labels: &[u32], ways: usize, support: usize, query: usize, episodes: usize, seed: u64) -> Result<Self> {
        let images = images_by_class(labels);
        check_classes("an episode", "sampler.classes", ways, images.len())?;
        let per_class = support + query;
        if support == 0 {
            return Err(Error::Sampler(
                "an episode wants sampler.support = 0 images per class: give at least 1".into(),
            ));
        }
        if query == 0 {
            return Err(Error::Sampler(format!(
                "sampler.support = {support} leaves no image of a class for queries: raise sampler.per_class to {} or more",
                support + 1
            )));
        }
        if episodes == 0 {
            return Err(Error::Sampler("an epoch has 0 episodes: give at least 1".into()));
        }
        let smallest = images.iter().map(Vec::len).min().unwrap_or(0);
        if smallest < per_class {
            return Err(Error::Sampler(format!(
                "an episode wants sampler.per_class = {per_class} different images ({support} support, {query} query) but the \
                 smallest class has {smallest}: lower sampler.per_class to {smallest} or less"
            )));
        }
        Ok(Self { images, ways, per_class, episodes, seed })
    }
}

impl BatchSampler for EpisodicSampler {
    fn batches_per_epoch(&self) -> usize {
        self.episodes
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let episode = |number: usize| {
            let mut rng = stream(self.seed, Purpose::Episode, (epoch, number as u64));
            let mut batch = Vec::with_capacity(self.ways * self.per_class);
            for class in index::sample(&mut rng, self.images.len(), self.ways) {
                let images = &self.images[class];
                batch.extend(index::sample(&mut rng, images.len(), self.per_class).into_iter().map(|i| images[i]));
            }
            batch
        };
        (0..self.episodes).map(episode).collect()
    }
}
