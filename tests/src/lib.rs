//! Batches for the tests that cross crates and for the timing program.

pub mod batch;
pub mod peak;
