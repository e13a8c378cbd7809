//! What networks have in common before their heads.

use crate::{Input, Mode, Result};
use candle_core::Tensor;

/// What a backbone makes of a batch.
#[derive(Clone, Debug)]
pub enum Features {
    /// Maps of images, `[n, c, h, w]`.
    Map(Tensor),
    /// A vector for each token, `[n, t, c]`, and where there are tokens, `[n, t]` (all, if it is not said).
    Tokens {
        /// The vectors.
        values: Tensor,
        /// 1 where there is a token.
        mask: Option<Tensor>,
    },
    /// A vector for each input, `[n, c]`.
    Vectors(Tensor),
}

/// A network without its head.
pub trait Backbone: Send + Sync {
    /// Features of `input`.
    ///
    /// # Errors
    /// When the input is not of the kind and shape that the network was built for.
    fn features(&self, input: &Input, mode: Mode) -> Result<Features>;

    /// Numbers `c` of a feature.
    fn channels(&self) -> usize;
}
