//! Who is this? Identities are enrolled by their embeddings, and a probe is verified (1:1), identified (1:K) or told to be none
//! of them. A new identity is known at once: the model is not trained again.
//!
//! ```
//! use dml_core::{Matrix, Metric};
//! use dml_gallery::{Decision, Embeddings, Gallery, IdentifyOptions, MemoryGallery, Metadata, Model, Templates};
//!
//! let model = Model { weights_sha256: None, dim: 2, metric: Metric::Cosine, preprocessing: "none".to_owned() };
//! let gallery = MemoryGallery::new(model.clone(), Templates::PerImage)?;
//! let of = |values: &'static [f32]| Matrix::new(values, values.len() / 2, 2);
//! gallery.enrol("Ada", Embeddings::new(&model, of(&[1.0, 0.0, 0.9, 0.1])?), Metadata::new())?;
//! gallery.enrol("Bo", Embeddings::new(&model, of(&[0.0, 1.0])?), Metadata::new())?;
//!
//! let probes = Embeddings::new(&model, of(&[0.8, 0.1, -1.0, -1.0])?);
//! let options = IdentifyOptions { threshold: Some(0.7), ..IdentifyOptions::default() };
//! let answers = gallery.identify(probes, &options)?;
//! assert_eq!(answers[0].accepted().map(|who| who.name.as_str()), Some("Ada"));
//! assert_eq!(answers[1].decision, Decision::Unknown);
//! # Ok::<(), dml_gallery::Error>(())
//! ```
//!
//! [`FileGallery`] keeps a gallery in one file (with an approximate index beside it by the feature `ann`), [`MemoryGallery`] in
//! memory, `PostgresGallery` (feature `pgvector`) and `MilvusGallery` (feature `milvus`) in a server for many processes;
//! [`conformance`] checks any other [`Gallery`].
//! Embeddings carry the fingerprint of their [`Model`], and those of another are refused. Thresholds come from held-out
//! identities ([`Gallery::calibrate`]).

mod answer;
mod calibration;
pub mod conformance;
mod error;
mod export;
mod file;
mod gallery;
mod identity;
mod memory;
#[cfg(feature = "milvus")]
mod milvus;
mod model;
mod plan;
#[cfg(feature = "pgvector")]
mod postgres;
mod problem;
mod roster;
mod searched;
#[cfg(any(feature = "milvus", feature = "pgvector"))]
mod server;

/// Where a server of PostgreSQL is, and how it is reached.
#[cfg(feature = "pgvector")]
pub use ::postgres::Config as PostgresConfig;
pub use answer::{Candidate, Decision, Identification, Verification};
pub use calibration::{Calibrated, Calibration, CalibrationOptions};
pub use dml_eval::identification::Templates;
#[cfg(feature = "ann")]
pub use dml_eval::search::ApproximateOptions;
pub use error::{Error, Result};
pub use export::{Exported, export, import};
pub use file::FileGallery;
#[cfg(feature = "ann")]
pub use file::{IndexReport, IndexState};
pub use gallery::{Gallery, IdentifyOptions, Visit};
pub use identity::{Change, Count, Filter, Identity, Metadata, SampleId};
pub use memory::MemoryGallery;
#[cfg(feature = "milvus")]
pub use milvus::{MilvusGallery, MilvusServer};
pub use model::{Embeddings, Model, sha256_of};
#[cfg(feature = "pgvector")]
pub use postgres::{Erasure, PostgresGallery, Search};
pub use problem::ServerProblem;
