//! Embeddings with their labels.

use super::{ColumnNames, Table, Vectors, open_table, open_vectors};
use crate::{Error, Result};
use std::path::Path;

/// Embeddings and one row of a table for each.
pub struct Labelled {
    /// The embeddings, `[n, d]`.
    pub vectors: Box<dyn Vectors + Send>,
    /// What is known about them, n rows.
    pub table: Table,
}

impl Labelled {
    /// Opens both files, see [`open_vectors`] and [`open_table`].
    ///
    /// # Errors
    /// When one of them cannot be opened, or they have not the same number of rows.
    pub fn open(
        embeddings: impl AsRef<Path>,
        tensor: Option<&str>,
        labels: impl AsRef<Path>,
        names: &ColumnNames,
    ) -> Result<Self> {
        let (embeddings, labels) = (embeddings.as_ref(), labels.as_ref());
        let short = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (vectors, table) = (open_vectors(embeddings, tensor)?, open_table(labels, names)?);
        Self::join(vectors, &short(embeddings), table, &short(labels))
    }

    /// Joins embeddings and a table that are at hand; errors call them by the names given.
    ///
    /// # Errors
    /// When they have not the same number of rows.
    pub fn join(vectors: Box<dyn Vectors + Send>, vectors_name: &str, table: Table, table_name: &str) -> Result<Self> {
        if vectors.rows() == table.rows() {
            return Ok(Self { vectors, table });
        }
        Err(Error::Input(format!(
            "{table_name} has {} rows but {vectors_name} has {}: give one label per embedding",
            table.rows(),
            vectors.rows()
        )))
    }
}

impl std::fmt::Debug for Labelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = [self.vectors.rows(), self.vectors.dim()];
        f.debug_struct("Labelled").field("vectors", &shape).field("table", &self.table).finish()
    }
}
