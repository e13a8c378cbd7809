//! What can go wrong with data, said so that the reader can mend it.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate. Each message names the thing, the value found and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument does not fit the data or is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// A sampler cannot draw what it was asked for.
    #[error("{0}")]
    Sampler(String),
    /// A file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read but does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file, or the archive and the entry within it.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file of a data set is not there.
    #[error("{}: not found; {mend}", path.display())]
    Missing {
        /// Where the file should be.
        path: PathBuf,
        /// The command that brings it.
        mend: String,
    },
    /// A file has other bytes than its manifest says.
    #[error("{}: has {what} {found} but the manifest says {expected}; {mend}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The property that differs: `size`, `sha256` or `md5`.
        what: &'static str,
        /// The value found.
        found: String,
        /// The value in the manifest.
        expected: String,
        /// What to do.
        mend: String,
    },
    /// A text cannot become tokens.
    #[cfg(feature = "text")]
    #[error("{set}: text {index} {problem}")]
    Text {
        /// The data set, and of pairs the side.
        set: String,
        /// The text's index in it.
        index: usize,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A download failed.
    #[error("{url}: {problem}")]
    Download {
        /// What was asked for.
        url: String,
        /// What happened and what to do.
        problem: String,
    },
    /// The loader's thread ended without a word: a data set or sampler panicked.
    #[error("the loader's thread panicked while it prepared step {step}: see the panic message above")]
    LoaderPanicked {
        /// The step that was wanted.
        step: u64,
    },
    /// candle could not make the tensor.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }
}
