//! Operations with their weights.

mod batch_norm;
mod conv;
mod layer_norm;
mod linear;
mod prelu;
mod scope;

pub(crate) use batch_norm::BatchNorm;
pub(crate) use conv::Conv;
pub use conv::Padding;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use prelu::PRelu;
pub(crate) use scope::{Builder, Scope, Start};
