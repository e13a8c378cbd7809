//! What can go wrong in a kernel.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Sizes that do not belong together.
    #[error("{0}")]
    Shape(String),
    /// A name that is no metric.
    #[error(
        "unknown metric {0:?}: use cosine, dot, euclidean, squared_euclidean, snr, lp:P with P of 1 or more, or hyperbolic:C with C above 0"
    )]
    UnknownMetric(String),
    /// Whoever watched the work broke it off.
    #[error("cancelled")]
    Cancelled,
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
