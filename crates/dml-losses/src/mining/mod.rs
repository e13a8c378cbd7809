//! Miners: which pairs or triplets of a batch a loss is taken of.
//!
//! | question | miners |
//! |---|---|
//! | the hardest of each anchor? | `batch_hard`, `batch_easy_hard`, `n_hard` |
//! | those that violate a margin? | `pair_margin`, `triplet_margin`, `multi_similarity`, `angular` |
//! | a share of the batch? | `hdc`, `uniform_histogram` |
//! | drawn by distance? | `distance_weighted`, `rho_distance` |
//! | given by the batch's order? | `packaged_triplets` |
//!
//! Every miner takes any [`Supervision`](crate::Supervision) and any references; an anchor is no positive of itself. Scores are taken
//! some rows at a time; what is drawn depends on seed, step and anchor alone. A score that is not a number is an error: a
//! miner would hide it.

pub mod angular;
pub mod batch_easy_hard;
pub mod batch_hard;
pub mod distance_weighted;
pub mod hdc;
pub mod multi_similarity;
pub mod n_hard;
pub mod packaged_triplets;
pub mod pair_margin;
mod registry;
pub mod rho_distance;
mod rows;
mod sphere;
pub mod triplet_margin;
pub mod uniform_histogram;

use crate::{Batch, Result, Tuples};
use candle_core::Tensor;
use std::collections::HashMap;

pub use registry::{MINERS, MinerConfig, MinerParams, MinerSpec};

/// Names pairs or triplets of a batch.
pub trait Miner: Send {
    /// Tuples of the batch: anchors are its rows, the others columns of its references (of itself where it has none).
    ///
    /// # Errors
    /// When labels do not fit, or a score is not a number.
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples>;

    /// What a checkpoint must hold: of a miner that draws, how often it has.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Restores what [`Self::state`] gave.
    ///
    /// # Errors
    /// When something is missing.
    fn load_state(&mut self, _state: &HashMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}
