//! Batches and embeddings for the tests that cross crates and for the timing programs.

pub mod batch;
pub mod embedded;
pub mod peak;
pub mod timing;
