//! The one trait of this crate.

use crate::Result;
use candle_core::{Device, Tensor, Var};
use std::collections::HashMap;

/// A loss on a batch of labelled embeddings.
pub trait Objective: Send {
    /// The loss of `embeddings` (`[n, d]`, as the encoder gave them) with one label per row: a scalar that can be
    /// differentiated with respect to `embeddings` and [`Self::parameters`]. 0, with gradient 0, when the batch holds no
    /// term at all.
    ///
    /// # Errors
    /// When labels are not one per row, or name a class that the loss does not know.
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor>;

    /// What an optimiser changes (proxies), with stable names.
    fn parameters(&self) -> Vec<(String, Var)> {
        Vec::new()
    }

    /// Everything else that a checkpoint must hold.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Restores what [`Self::state`] gave.
    ///
    /// # Errors
    /// When something is missing or of another size.
    fn load_state(&mut self, _state: &HashMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// What a loss must know of the rest of the training.
#[derive(Clone, Debug)]
pub struct Context {
    /// Length of an embedding.
    pub dim: usize,
    /// Number of training classes; labels are `0..classes`.
    pub classes: usize,
    /// Seed of what is drawn (proxies).
    pub seed: u64,
    /// Where parameters live.
    pub device: Device,
}
