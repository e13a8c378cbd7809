//! Vectors in, scores and gradients out: the metrics, score matrices, row driver and exact search under every
//! loss and every measure of this workspace.
//!
//! No files, no clock, no hidden randomness. Work is cut into tiles whose size never depends on the number of
//! threads, so a result is the same, bit for bit, on any number of them. Kernels run in `f32` and `f64`.

mod best;
mod device;
mod error;
mod exclude;
mod head_start;
mod hyperbolic;
mod matrix;
mod metric;
mod nearest;
mod pairwise;
mod panels;
mod projection;
mod pull_back;
mod ranks;
mod reaching;
mod real;
pub mod reference;
pub mod relevance;
mod row;
pub mod rowwise;
mod scores;
mod scratch;
pub mod table;
mod terms;
mod tiles;
pub mod vector;

pub use device::{has_kernels, to_host, with_host};
pub use error::{Error, Result};
pub use exclude::Exclude;
pub use matrix::Matrix;
pub use metric::Metric;
pub use nearest::{Nearest, NearestSearch, nearest, nearest_watched};
pub use pairwise::{l2_normalize, pairwise};
pub use panels::Panels;
pub use projection::{Projected, Projection};
pub use ranks::{RankQuestion, Ranks, RowsOf, Ties, ranks};
pub use reaching::reaching;
pub use real::Real;
pub use row::Row;
pub use scores::{for_each_score_row, scores, self_scores};
pub use scratch::release_scratch;
pub use terms::{GROUPS, Reduction, Terms, over};
pub use tiles::{PairTile, Watch, for_each_pair_tile, unwatched};
