//! Regularisers: what is added to a loss for the rows it is taken of, the embeddings or the loss's own proxies.
//!
//! All are the mean of a term of each row (but `sparse_centers`, of pairs of rows), composed of candle's operations and differentiable on
//! every device. [`Regularized`](crate::wrappers::Regularized) adds them to a loss.

pub mod center_invariant;
pub mod lp;
mod registry;
pub mod regular_face;
pub mod sparse_centers;
pub mod zero_mean;

pub use registry::{REGULARIZERS, RegularizerConfig, RegularizerKind, RegularizerParams, RegularizerSpec};

/// The embeddings of a batch, as a regulariser's `of`.
pub const EMBEDDINGS: &str = "embeddings";
