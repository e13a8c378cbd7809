//! Data sets, manifests, splits, P×K samplers, augmentation and an ordered prefetching loader.
//!
//! ```text
//! Dataset -> BatchSampler -> Loader (decode, augment, normalise; prefetched, in order) -> Batch
//! ```
//!
//! A sampler sees labels only. A split never shares a class between its parts. Everything random is a pure function
//! of a seed and a position, so a run gives the same batches for any number of threads and after any restart.
//!
//! ```
//! use dml_data::{Augment, Loader, Normalize, PkSampler, Dataset, sources};
//! use std::sync::Arc;
//!
//! let split = sources::emoji::load()?;
//! let train = Arc::new(split.train);
//! let sampler = PkSampler::new(train.labels(), 8, 2, 1)?;
//! let normalize = Normalize::measure(train.as_ref())?;
//! let mut loader = Loader::new(train, Box::new(sampler), Augment::default(), normalize, 1, 0);
//! let batch = loader.next().expect("the loader is endless")?;
//! assert_eq!(batch.shape, [16, 3, 32, 32]);
//! # Ok::<(), dml_data::Error>(())
//! ```

mod batch;
mod catalog;
mod class_folds;
mod class_texts;
mod data_dir;
mod dataset;
mod decoded_cache;
#[cfg(feature = "download")]
pub mod download;
mod error;
mod expected;
mod growing;
pub mod image;
mod inputs;
mod loader;
mod manifest;
mod prefetch;
pub mod rng;
mod room;
pub mod sampler;
mod selected;
pub mod sources;
mod split;
mod strings;
#[cfg(feature = "text")]
pub mod text;
mod text_pairs;
pub mod unpack;

pub use batch::{Batch, ByteBatch, byte_batches, eval_batches, input_batches};
pub use catalog::{Catalog, CatalogBuilder, FileEntry, Files, Membership, Samples, Span, Texts};
pub use class_folds::ClassFolds;
pub use class_texts::ClassTexts;
pub use data_dir::data_dir;
pub use dataset::{Dataset, Image, ImageSet};
pub use decoded_cache::CachedImages;
pub use error::{Error, Result};
pub use expected::Expected;
pub use image::{Augment, Normalize};
pub use inputs::{AugmentedSet, ByteInputs, Draw, FileImages, Inputs};
pub use loader::{ByteLoader, Loader, LoaderOptions};
pub use manifest::{Manifest, ManifestFile};
pub use prefetch::Prefetch;
pub use sampler::{BatchSampler, EpisodicSampler, PkSampler};
pub use selected::SelectedInputs;
pub use split::{ClassSplit, Split, SplitRule};
pub use strings::Strings;
pub use text_pairs::TextPairs;
