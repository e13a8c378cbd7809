//! Examples that come in two views: an image and one of the texts of its class, an image drawn twice, or a query and an image of its
//! class from the gallery.

use crate::Result;
use crate::examples::{Batches, Examples, Images, Streamed};
use dml_data::sampler::{Plan, ReferenceSampler};
use dml_data::text::TextTokenizer;
use dml_data::{BatchSampler, ClassTexts, Inputs, LoaderOptions};
use std::sync::{Arc, Mutex, PoisonError};

/// Images, each with one of the texts of its class: another one each time, drawn from (seed, step, place in the batch).
pub struct ImagesWithTexts {
    /// The images.
    pub images: Images,
    /// The texts; every class of the images has one.
    pub texts: Arc<ClassTexts>,
    /// What makes tokens of them.
    pub tokenizer: Arc<TextTokenizer>,
}

impl Examples for ImagesWithTexts {
    fn name(&self) -> &str {
        self.images.name()
    }

    fn id(&self, index: usize) -> String {
        self.images.id(index)
    }

    fn labels(&self) -> &[u32] {
        self.images.labels()
    }

    fn class_names(&self) -> &[String] {
        self.images.class_names()
    }

    fn images(&self) -> Option<&Arc<dyn Inputs>> {
        self.images.images()
    }

    fn tokenizer(&self) -> Option<&TextTokenizer> {
        Some(&self.tokenizer)
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, (seed, start): (u64, u64), how: Streamed) -> Batches<'static> {
        let (texts, tokenizer) = (self.texts.clone(), self.tokenizer.clone());
        let images = self.images.stream(sampler, (seed, start), how);
        Box::new((start..).zip(images).map(move |(step, batch)| {
            let batch = batch?;
            let tokens = tokenizer.encode(&texts.draw(seed, step, &batch.labels))?;
            Ok(batch.with_texts(tokens))
        }))
    }

    /// The images alone.
    fn all(&self) -> Result<Batches<'_>> {
        self.images.all()
    }
}

impl Streamed {
    /// For one of two streams, which share the threads that are given.
    fn halved(self) -> Self {
        Self { loader: LoaderOptions { workers: self.loader.workers.div_ceil(2), ..self.loader }, ..self }
    }
}

/// Images, each augmented twice.
pub struct DrawnTwice(pub Images);

/// What the seed of the second draw differs by.
const SECOND: u64 = 0x5eed_0002_5eed_0002;

impl Examples for DrawnTwice {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn id(&self, index: usize) -> String {
        self.0.id(index)
    }

    fn labels(&self) -> &[u32] {
        self.0.labels()
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }

    fn images(&self) -> Option<&Arc<dyn Inputs>> {
        self.0.images()
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, (seed, start): (u64, u64), how: Streamed) -> Batches<'static> {
        let sampler = Shared(Arc::new(Mutex::new(sampler)));
        let how = how.halved();
        let view = |seed| self.0.stream(Box::new(sampler.clone()), (seed, start), how);
        let (first, second) = (view(seed), view(seed ^ SECOND));
        Box::new(first.zip(second).map(|(first, second)| first?.with_view(second?)))
    }

    /// The images as they are, once.
    fn all(&self) -> Result<Batches<'_>> {
        self.0.all()
    }
}

/// Queries, each with an image of its class from the gallery beside it: another one each time, drawn from (seed, step, place in the
/// batch).
pub struct QueriesAndGallery {
    /// The queries.
    pub queries: Images,
    /// Images among which those of the gallery are.
    pub gallery: Images,
    /// Of each query, which of them may go with it; never none.
    pub choices: Arc<Vec<Arc<Vec<u32>>>>,
}

impl Examples for QueriesAndGallery {
    fn name(&self) -> &str {
        self.queries.name()
    }

    fn id(&self, index: usize) -> String {
        self.queries.id(index)
    }

    fn labels(&self) -> &[u32] {
        self.queries.labels()
    }

    fn class_names(&self) -> &[String] {
        self.queries.class_names()
    }

    fn images(&self) -> Option<&Arc<dyn Inputs>> {
        self.queries.images()
    }

    fn stream(&self, sampler: Box<dyn BatchSampler>, (seed, start): (u64, u64), how: Streamed) -> Batches<'static> {
        let sampler = Shared(Arc::new(Mutex::new(sampler)));
        let how = how.halved();
        let beside = ReferenceSampler::new(sampler.clone(), self.choices.clone(), seed);
        let queries = self.queries.stream(Box::new(sampler), (seed, start), how);
        let gallery = self.gallery.stream(Box::new(beside), (seed ^ SECOND, start), how);
        Box::new(queries.zip(gallery).map(|(queries, gallery)| queries?.with_references(gallery?)))
    }

    /// The queries alone.
    fn all(&self) -> Result<Batches<'_>> {
        self.queries.all()
    }
}

/// A sampler that two loaders go by.
#[derive(Clone)]
struct Shared(Arc<Mutex<Box<dyn BatchSampler>>>);

impl BatchSampler for Shared {
    fn batches_per_epoch(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).batches_per_epoch()
    }

    fn plan(&self, epoch: u64) -> Plan {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).plan(epoch)
    }
}
