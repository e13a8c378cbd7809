//! Backbones and embedding heads: a batch of inputs in, embeddings `[n, d]` out.
//!
//! An [`Encoder`] is anything that embeds; [`image::Conv4`] is the four-block network of the few-shot papers.
//! On the CPU its blocks run on our own convolution and norm-pool operations ([`image::conv`], [`image::norm_pool`]),
//! because candle's cost several times as much in training; on other devices on candle's.

pub mod encoder;
mod error;
pub mod image;
mod init;
pub mod pretrained;

pub use encoder::{Encoder, Mode};
pub use error::{Error, Result};
