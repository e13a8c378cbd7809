//! What can go wrong in a loss.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no loss has.
    #[error("unknown loss {name:?}: use one of {known}")]
    UnknownLoss {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A parameter that is unknown or has no meaning.
    #[error("loss {loss}: {problem}")]
    Parameter {
        /// The loss.
        loss: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A setting of what stands around a loss (a miner, a memory, a reduction …) that is unknown or has no meaning.
    #[error("{what}: {problem}")]
    Setting {
        /// Whose setting, by kind and name.
        what: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// Embeddings between which there is no score.
    #[error("{what}: scores of row {row} are not numbers: look for what made the embeddings so")]
    NotNumbers {
        /// Who asked for the scores.
        what: String,
        /// The row of the batch.
        row: usize,
    },
    /// Labels that do not fit.
    #[error("labels: {0}")]
    Labels(String),
    /// A saved state that does not fit.
    #[error("saved state: {0}")]
    State(String),
    /// A kernel refused.
    #[error(transparent)]
    Core(#[from] dml_core::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// An error in a setting of what stands around a loss.
pub(crate) fn setting(what: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Setting { what: what.into(), problem: problem.into() }
}

/// A parameter's error as that of a thing of another kind than a loss.
pub(crate) fn of_kind(kind: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| match error {
        Error::Parameter { loss, problem } => setting(format!("{kind} {loss}"), problem),
        other => other,
    }
}
