//! What can go wrong with a server.

/// What can go wrong with a gallery in a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerProblem {
    /// Nobody answers, or no longer.
    #[error("no server answers ({0}): check that it runs, its host and its port")]
    Unreachable(String),
    /// User, password or rights.
    #[error("the server refuses ({0}): check user, password, database, rights and certificate")]
    Denied(String),
    /// The server lacks what a gallery needs.
    #[error("{0}")]
    Lacks(String),
    /// A gallery of this name is there.
    #[error("there is such a gallery already: name another, or open it")]
    Exists,
    /// No gallery of this name is there.
    #[error("there is no such gallery: check the name, or create it")]
    Missing,
    /// Another version of this crate made the gallery.
    #[error("a gallery of layout {found}, this dml reads layout {known}: use the dml that wrote it")]
    Layout {
        /// The gallery's.
        found: i64,
        /// Of this crate.
        known: i64,
    },
    /// The last word of a change was not heard. All of it is made, or nothing.
    #[error(
        "the connection broke while the change was committed ({0}): it is made whole or not at all; ask the gallery which"
    )]
    Unanswered(String),
    /// Another process took over while this one was at a change. Nothing of the change is made.
    #[error(
        "another process took over writing, for this one was silent for too long; nothing of the change is made: make it again"
    )]
    Overtaken,
    /// Somebody was removed for good, but their bytes may still be in the server's files.
    #[error("removed, but not yet erased from the server's files: {0}; the next removal tries again")]
    NotErased(String),
    /// Anything else that the server said.
    #[error("the server says: {0}")]
    Said(String),
}
