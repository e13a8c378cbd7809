//! Rows of numbers, wherever they lie.

use super::{VectorFile, extension, refused};
use crate::{Error, Result};
use dml_core::Matrix;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, ops::Range, path::Path};

/// Values looked at in one go.
const BLOCK: usize = 1 << 16;

/// Embeddings `[n, d]` that are read in blocks of rows.
pub trait Vectors: Sync {
    /// Number of embeddings, n.
    fn rows(&self) -> usize;

    /// Length of an embedding, d.
    fn dim(&self) -> usize;

    /// The rows of a range as `f32`, row by row; borrowed where they lie in memory like that.
    ///
    /// # Errors
    /// When the range is not within the rows.
    fn block(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>>;
}

impl Vectors for Matrix<'_> {
    fn rows(&self) -> usize {
        Matrix::rows(*self)
    }

    fn dim(&self) -> usize {
        self.cols()
    }

    fn block(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>> {
        row_bytes(self.data(), &rows, Matrix::rows(*self), self.cols()).map(Cow::Borrowed).map_err(Error::Input)
    }
}

/// A range of rows of `width` entries, or why there is none.
pub(super) fn row_bytes<'a, T>(
    data: &'a [T],
    rows: &Range<usize>,
    count: usize,
    width: usize,
) -> std::result::Result<&'a [T], String> {
    let fits = rows.start <= rows.end && rows.end <= count;
    fits.then(|| data.get(rows.start * width..rows.end * width)).flatten().ok_or_else(|| {
        let Range { start, end } = rows;
        format!("rows {start}..{end} were asked for but there are {count}: ask for less")
    })
}

/// Opens embeddings by the ending of the file's name: `.npy` or `.safetensors`, which are mapped, or with feature `parquet`
/// `.parquet`, a column of lists of floats that is read into memory.
///
/// `tensor` names the tensor in a `.safetensors` file, or the column in a `.parquet` file; without it the only 2-D tensor, or column
/// of lists, is taken.
///
/// # Errors
/// When the file cannot be opened, its ending is not known, or it does not hold embeddings `[n, d]`.
pub fn open_vectors(path: impl AsRef<Path>, tensor: Option<&str>) -> Result<Box<dyn Vectors + Send>> {
    let path = path.as_ref();
    match extension(path).as_str() {
        "npy" if tensor.is_some() => Err(refused(path, "an .npy file holds one array without a name: name no tensor")),
        "npy" => Ok(Box::new(VectorFile::npy(path)?)),
        "safetensors" => Ok(Box::new(VectorFile::safetensors(path, tensor)?)),
        #[cfg(feature = "parquet")]
        "parquet" => Ok(Box::new(super::parquet_lists::Lists::open(path, tensor)?)),
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            Err(refused(path, "Parquet is read only with the cargo feature `parquet`: build with it, or save .npy"))
        }
        _ => {
            Err(refused(path, "embeddings are read from .npy, .safetensors and .parquet: name the file by what it is"))
        }
    }
}

/// Refuses embeddings that are not numbers.
///
/// # Errors
/// Names the first row that holds a NaN or an infinity, its column and the value.
pub fn check_finite(vectors: &dyn Vectors) -> Result<()> {
    for rows in blocks(vectors) {
        let first = rows.start;
        let block = vectors.block(rows)?;
        if let Some(at) = block.iter().position(|v| !v.is_finite()) {
            let (row, column, value) = (first + at / vectors.dim(), at % vectors.dim(), block[at]);
            return Err(Error::Input(format!(
                "embedding {row} holds {value} in column {column}, rows and columns counted from 0: check the model"
            )));
        }
    }
    Ok(())
}

/// Rows of nothing but zeros: they have no direction, and no cosine to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroRows {
    /// The first of them, counted from 0.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

/// The rows of nothing but zeros, `None` where there is no such row.
///
/// # Errors
/// When a block cannot be read.
pub fn zero_rows(vectors: &dyn Vectors) -> Result<Option<ZeroRows>> {
    let mut found: Option<ZeroRows> = None;
    for rows in blocks(vectors) {
        let block = vectors.block(rows.clone())?;
        for (row, values) in rows.zip(block.chunks_exact(vectors.dim())) {
            if values.iter().all(|&v| v == 0.0) {
                found.get_or_insert(ZeroRows { first: row, count: 0 }).count += 1;
            }
        }
    }
    Ok(found)
}

/// The rows in ranges of about [`BLOCK`] values; none where rows have no values.
fn blocks(vectors: &dyn Vectors) -> impl Iterator<Item = Range<usize>> {
    let count = if vectors.dim() == 0 { 0 } else { vectors.rows() };
    let step = (BLOCK / vectors.dim().max(1)).max(1);
    (0..count).step_by(step).map(move |start| start..start.saturating_add(step).min(count))
}
