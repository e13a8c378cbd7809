//! Backbones and embedding heads: a batch of inputs in, embeddings `[n, d]` out.
//!
//! An [`Encoder`] is anything that embeds; a [`Network`] is one made of a [`Backbone`](backbone::Backbone) and a head, by an
//! [`EncoderConfig`]. Networks are made of [`ops`]. What is learned is in [`Weights`], under the names of the published weights.

pub mod backbone;
pub mod encoder;
mod error;
#[cfg(test)]
#[path = "../tests/formula/mod.rs"]
mod formula;
pub mod head;
pub mod image;
mod init;
mod layer;
pub mod network;
pub mod ops;
pub mod pooling;
pub mod pretrained;
pub mod text;
pub mod weights;

pub use encoder::{Encoder, Input, Mode, Tokens};
pub use error::{Error, Result};
pub use head::HeadConfig;
pub use layer::Padding;
pub use network::{Architecture, EncoderConfig, Network, TextSizes};
pub use ops::{Precision, gradients};
pub use pooling::Pooling;
pub use weights::{Parameter, Weights, is_of_head, is_of_text, without_gradients};
