//! What can go wrong in a measure.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a measure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Input that the measure is not defined for.
    #[error("{0}")]
    Input(String),
    /// A kernel refused.
    #[error(transparent)]
    Core(#[from] dml_core::Error),
}
