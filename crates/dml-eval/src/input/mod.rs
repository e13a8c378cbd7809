//! Embeddings and their labels, from the files other tools write, and back to such files.
//!
//! | what | from |
//! |---|---|
//! | embeddings, `[n, d]` | `.npy`, `.safetensors`, `.parquet` (feature `parquet`) |
//! | labels and the columns beside them | `.csv`, `.tsv`, `.txt`, `.npy`, `.safetensors`, `.parquet` (feature `parquet`) |
//!
//! Embeddings are mapped, not read: a file larger than the memory is walked in blocks of rows.
//! A file must not be changed while it is open here.

mod columns;
mod csv;
mod elements;
mod labelled;
mod labels;
mod mapped;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_lists;
mod safetensors;
mod summary;
mod texts;
mod vectors;
mod write;
mod writer;

pub use columns::ColumnNames;
pub use labelled::Labelled;
pub use labels::{Categories, Table, open_table};
pub use mapped::VectorFile;
pub use summary::{TensorSummary, summarize};
pub use vectors::{Vectors, ZeroRows, check_finite, open_vectors, zero_rows};
#[cfg(feature = "ann")]
pub(crate) use write::write_whole;
pub use write::{write_npy, write_safetensors};
pub use writer::{EmbeddingFormat, EmbeddingWriter, Items};

use std::path::Path;

/// The ending of a file's name in small letters, empty where there is none.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// A refusal of what a file holds.
pub(crate) fn refused(path: &Path, problem: impl Into<String>) -> crate::Error {
    crate::Error::File { path: path.to_owned(), problem: problem.into() }
}

/// What the system said about a file.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> crate::Error + '_ {
    |source| crate::Error::Io { path: path.to_owned(), source }
}
