//! What the tests that cross crates share: they lie in `tests/tests`, the timing program in `src/bin`.

pub mod batch;
pub mod composed;
