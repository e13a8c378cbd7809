//! What can go wrong in a run.

use std::path::Path;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that says nothing that can be run.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A file that cannot be read or written.
    #[error("{path}: {problem}")]
    File {
        /// The file or folder.
        path: String,
        /// What happened, and the mend.
        problem: String,
    },
    /// A checkpoint that lacks something, or holds it in another shape.
    #[error("the checkpoint has no {0} of the right shape: remove the run folder to start anew")]
    Checkpoint(String),
    /// A loss, a score or a gradient that is no longer a number. The last checkpoint is of an earlier step.
    #[error(
        "{what} at step {step}, of {examples:?}: lower optimizer.lr or set optimizer.clip_norm, in another --run-dir; the last \
         checkpoint is of an earlier step"
    )]
    NotFinite {
        /// The step, from 1, as the log counts them.
        step: u64,
        /// What is no number.
        what: String,
        /// The examples of the step, by their ids.
        examples: Vec<String>,
    },
    /// A gradient that is no longer a number.
    #[error(
        "the gradient of {parameter} is not finite: lower optimizer.lr or set optimizer.clip_norm, in another --run-dir"
    )]
    GradientNotFinite {
        /// The first parameter whose gradient is broken.
        parameter: String,
    },
    /// Embeddings that are no numbers, measured during training or after it.
    #[error("{what}, after step {step}: lower optimizer.lr or set optimizer.clip_norm, in another --run-dir")]
    EmbeddingNotFinite {
        /// Steps done.
        step: u64,
        /// What is no number.
        what: String,
    },
    /// Embeddings that have become alike, measured during training or after it: nothing tells pairs apart.
    #[error("{what}, after step {step}: lower optimizer.lr or train otherwise, in another --run-dir")]
    Collapsed {
        /// Steps done.
        step: u64,
        /// What does not vary.
        what: String,
    },
    /// Asked to stop before the end.
    #[error("interrupted at step {step}: the checkpoint has all of it, the same command goes on from there")]
    Interrupted {
        /// Steps done.
        step: u64,
    },
    /// Asked to stop between two of several runs.
    #[error("interrupted before {run}: what is finished stays, the same command goes on from there")]
    InterruptedBefore {
        /// The run that was not begun.
        run: String,
    },
    /// A trial of a search failed.
    #[error("trial {trial} ({values}): {source}")]
    Trial {
        /// Its number.
        trial: u64,
        /// Its values.
        values: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A kernel failed.
    #[error(transparent)]
    Core(#[from] dml_core::Error),
    /// Data could not be had.
    #[error(transparent)]
    Data(#[from] dml_data::Error),
    /// A loss refused.
    #[error(transparent)]
    Loss(#[from] dml_losses::Error),
    /// A model refused.
    #[error(transparent)]
    Model(#[from] dml_models::Error),
    /// A metric refused.
    #[error(transparent)]
    Eval(#[from] dml_eval::Error),
}

impl Error {
    /// Whether it only says that it was asked to stop.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::InterruptedBefore { .. })
    }

    /// Whether it says that training is lost: it has grown beyond all numbers, or all embeddings have become alike.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::NotFinite { .. }
                | Self::GradientNotFinite { .. }
                | Self::EmbeddingNotFinite { .. }
                | Self::Collapsed { .. }
        )
    }

    /// The error of a measure of an encoder after `step` steps.
    pub(crate) fn of_measure(self, step: u64) -> Self {
        match self {
            Self::Eval(dml_eval::Error::NotFinite(what)) => Self::EmbeddingNotFinite { step, what },
            Self::Eval(dml_eval::Error::Collapsed(what)) => Self::Collapsed { step, what },
            other => other,
        }
    }

    /// The error of a file that the disk does not take.
    pub(crate) fn unwritten(path: &Path, problem: &std::io::Error) -> Self {
        Self::file(
            path,
            format!("cannot be written ({problem}): make room, or see who may write there; the same command goes on"),
        )
    }

    /// A file error that names the file.
    pub(crate) fn file(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), problem: problem.to_string() }
    }
}
