//! What can go wrong in a model.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A configuration that describes no network.
    #[error("model: {0}")]
    Config(String),
    /// Weights that do not belong to this model.
    #[error("weights in {path}: {problem}")]
    Weights {
        /// The file.
        path: String,
        /// What does not fit, and how to mend it.
        problem: String,
    },
    /// Weights of another network.
    #[error("weights in {path}: {report}")]
    Mismatch {
        /// The file.
        path: String,
        /// What fits, and what does not.
        report: Box<crate::pretrained::Report>,
    },
    /// A file of a hub that is another than it must be, or has no place.
    #[error("hub: {0}")]
    Hub(String),
    /// A file that is not here, and that the hub does not give.
    #[error("hub: {file} is not to be had: {problem}")]
    NotToBeHad {
        /// Its repository, revision and path.
        file: String,
        /// Why, and the mend.
        problem: String,
        /// Whether the hub answered that it has no such file.
        absent: bool,
    },
}
