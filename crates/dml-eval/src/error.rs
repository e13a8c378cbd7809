//! What can go wrong in a measure.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a measure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Input that the measure is not defined for.
    #[error("{0}")]
    Input(String),
    /// Embeddings that are no numbers.
    #[error("{0}")]
    NotFinite(String),
    /// Embeddings that are all as close, so that they tell nothing apart.
    #[error("{0}")]
    Collapsed(String),
    /// A file that could not be opened, read or written.
    #[error("{}: {source}: check the path and who may use it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that holds something else than it should.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, where, and what mends it.
        problem: String,
    },
    /// An approximate index that failed.
    #[error("approximate index: {0}")]
    Index(String),
    /// A kernel refused.
    #[error(transparent)]
    Core(#[from] dml_core::Error),
}
