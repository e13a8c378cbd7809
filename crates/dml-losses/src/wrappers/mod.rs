//! What goes around a loss: each an [`Objective`](crate::Objective) made of others.
//!
//! | wrapper | question it answers |
//! |---|---|
//! | [`Mined`] | which tuples of the batch? |
//! | [`Matryoshka`] | how good are the first entries of an embedding alone? |
//! | [`CrossBatchMemory`](crate::CrossBatchMemory) | how does the batch compare with past ones? |
//! | [`Regularized`] | how should embeddings or proxies lie, whatever the loss? |
//! | [`SelfSupervised`] | which view belongs with which, without labels? |
//! | [`MultipleLosses`] | several losses at once? |

mod matryoshka;
mod mined;
mod multiple;
mod parts;
mod regularized;
mod self_supervised;

pub use matryoshka::{Matryoshka, MatryoshkaConfig};
pub use mined::Mined;
pub use multiple::MultipleLosses;
pub(crate) use parts::add;
pub use regularized::Regularized;
pub use self_supervised::{SelfSupervised, SelfSupervisedConfig};
