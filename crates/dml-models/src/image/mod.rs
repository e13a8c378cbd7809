//! Image encoders and the operations they are made of.

pub mod conv;
mod conv4;
pub mod norm_pool;
mod slice;

pub use conv4::{Conv4, Conv4Config};
