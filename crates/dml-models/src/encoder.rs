//! The one trait of this crate.

use crate::Result;
use candle_core::{Tensor, Var};

/// Whether a pass learns from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics are used and running statistics updated.
    Train,
    /// Running statistics are used; the embedding of one input does not depend on its neighbours.
    Eval,
}

/// A differentiable map from a batch of inputs to embeddings.
pub trait Encoder: Send {
    /// Embeds `inputs` (`[n, c, h, w]` for images) into `[n, d]`, not normalised.
    ///
    /// # Errors
    /// When the shape of `inputs` is not the one the encoder was built for.
    fn embed(&self, inputs: &Tensor, mode: Mode) -> Result<Tensor>;

    /// Length `d` of an embedding.
    fn dim(&self) -> usize;

    /// What an optimiser changes, with stable names.
    fn parameters(&self) -> Vec<(String, Var)>;

    /// What training changes without a gradient (running statistics), with stable names.
    fn buffers(&self) -> Vec<(String, Var)>;

    /// Parameters and buffers: what a file of weights holds.
    fn weights(&self) -> Vec<(String, Var)> {
        self.parameters().into_iter().chain(self.buffers()).collect()
    }
}
