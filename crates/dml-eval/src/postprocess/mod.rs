//! What is done to embeddings, or to a ranking, after the model and before the measures.
//!
//! One idea per file. Nothing here is trained; whatever is fitted (PCA, whitening) must be fitted on other rows than are
//! measured, or the measure flatters.

pub mod database_augmentation;
pub mod k_reciprocal;
pub mod linear_map;
pub mod pca;
pub mod query_expansion;
pub mod whitening;

pub use database_augmentation::augment_database;
pub use k_reciprocal::{KReciprocal, k_reciprocal, k_reciprocal_within};
pub use linear_map::LinearMap;
pub use pca::Pca;
pub use query_expansion::{Expansion, NeighbourWeights, expand_queries};
pub use whitening::{Whitening, WhiteningOptions};
