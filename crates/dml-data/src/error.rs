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
    /// A file or folder of a data set cannot be read or written, for a reason that its user can mend.
    #[error("{}: {source}; {mend}", path.display())]
    Access {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        mend: &'static str,
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
    /// There is no folder for data sets: none is named, and the user has no home.
    #[error(
        "the user's home is not known, or is no absolute path: name a folder for data sets in the variable DML_DATA_DIR"
    )]
    NoDataDir,
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

    /// As [`Error::io`] for what lies in the data folder: says the mend if a full disk or the folder itself is in the way.
    pub(crate) fn access(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        use std::io::ErrorKind::{
            AlreadyExists, NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        move |source| {
            let mend = match source.kind() {
                StorageFull | QuotaExceeded => "make room, then do the same again",
                PermissionDenied | ReadOnlyFilesystem | NotADirectory | AlreadyExists => {
                    "choose another folder for data sets with DML_DATA_DIR or --data-dir, or get the right to use this one"
                }
                _ => return Self::Io { path: path.to_owned(), source },
            };
            Self::Access { path: path.to_owned(), source, mend }
        }
    }

    pub(crate) fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn what_is_in_the_way_of_data_is_said_with_its_mend() {
        for (kind, mend) in [
            (ErrorKind::StorageFull, "make room"),
            (ErrorKind::QuotaExceeded, "make room"),
            (ErrorKind::PermissionDenied, "DML_DATA_DIR or --data-dir"),
            (ErrorKind::ReadOnlyFilesystem, "DML_DATA_DIR or --data-dir"),
        ] {
            let error = Error::access(Path::new("sets/birds.tar"))(kind.into());
            assert!(matches!(error, Error::Access { .. }));
            let message = error.to_string();
            assert!(message.starts_with("sets/birds.tar: ") && message.contains(mend), "{message}");
        }
        let other = Error::access(Path::new("sets/birds.tar"))(ErrorKind::TimedOut.into());
        assert!(matches!(other, Error::Io { .. }), "nothing is known that would mend it");
    }
}
