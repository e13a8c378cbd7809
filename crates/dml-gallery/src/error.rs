//! What can go wrong with a gallery.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a gallery. Unless it says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request that makes no sense.
    #[error("{0}")]
    Input(String),
    /// Embeddings of another model than the gallery's.
    #[error(
        "the embeddings have {what} {given} but the gallery was made with {gallery}: embed with the gallery's model, or enrol anew in another gallery"
    )]
    OtherModel {
        /// What differs.
        what: &'static str,
        /// Of the gallery.
        gallery: String,
        /// Of the embeddings.
        given: String,
    },
    /// An embedding that has no place among others.
    #[error("embedding {row} {problem}")]
    Embedding {
        /// Its row, from 0.
        row: usize,
        /// What is wrong, and what mends it.
        problem: String,
    },
    /// Nobody of this name is enrolled.
    #[error("{0:?} is not enrolled: enrol it first, or check the spelling")]
    NotEnrolled(String),
    /// Somebody of this name is enrolled already.
    #[error("{0:?} is enrolled already: add samples to it, or remove it first")]
    AlreadyEnrolled(String),
    /// Another process, or another part of this one, has the gallery open.
    #[error("{}: the gallery is open elsewhere: one process at a time may use it, end the other first", .0.display())]
    Busy(PathBuf),
    /// A file that is no gallery, or no longer a whole one.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what mends it.
        problem: String,
    },
    /// A file that could not be opened, read or written.
    #[error("{}: {source}: check the path, who may use it and the room on the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The storage failed. What was asked for is not acknowledged: open the gallery again to see what it holds.
    #[error("{}: {problem}: nothing is acknowledged; make room or mend the disk and open the gallery again", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the storage said.
        problem: String,
    },
    /// Somebody was removed for good, but their bytes may still be in the file.
    #[error("{}: removed, but not yet erased from the file: {problem}; the next opening or removal tries again", path.display())]
    NotErased {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A gallery in a server.
    #[error("{place}: {problem}")]
    Server {
        /// Server and gallery; no user and no password.
        place: String,
        /// What is wrong with it, and what mends it.
        problem: crate::ServerProblem,
    },
    /// A measure refused.
    #[error(transparent)]
    Eval(#[from] dml_eval::Error),
    /// A kernel refused.
    #[error(transparent)]
    Core(#[from] dml_core::Error),
}
