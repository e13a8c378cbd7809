//! What fuzz targets do with any bytes: a function for each file of `fuzz_targets`. A test of the workspace, `tests/tests/fuzz_targets.rs`,
//! compiles them, too, and gives them right and altered files.

pub mod data;
#[cfg(feature = "eval")]
pub mod eval;
pub mod place;
