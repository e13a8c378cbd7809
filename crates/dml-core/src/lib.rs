//! Vectors in, scores and gradients out: the metrics, score matrices, row driver and exact search under every
//! loss and every measure of this workspace.
//!
//! No files, no clock, no hidden randomness. Work is cut into tiles whose size never depends on the number of
//! threads, so a result is the same, bit for bit, on any number of them.

mod device;
mod error;
mod matrix;
mod metric;
mod nearest;
mod normalize;
mod pairwise;
pub mod reference;
pub mod rowwise;
mod scores;

pub use device::to_host;
pub use error::{Error, Result};
pub use matrix::Matrix;
pub use metric::Metric;
pub use nearest::{Exclude, Nearest, nearest};
pub use normalize::{normalize_gradient, normalize_rows};
pub use pairwise::{l2_normalize, pairwise};
pub use scores::{for_each_score_row, scores};
