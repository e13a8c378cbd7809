//! A borrowed matrix, checked once.

use crate::{Error, Result};

/// Borrowed row-major `f32` values `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
}

impl<'a> Matrix<'a> {
    /// A view of `data` as `[rows, cols]`.
    ///
    /// # Errors
    /// When `data` has not `rows · cols` values.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::Shape(format!(
                "a matrix of {rows} rows and {cols} columns wants {} values but was given {}: check the embedding length",
                rows.saturating_mul(cols),
                data.len()
            )));
        }
        Ok(Self { data, rows, cols })
    }

    /// Number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// Row `i`; panics when there is none.
    pub fn row(self, i: usize) -> &'a [f32] {
        &self.data[i * self.cols..][..self.cols]
    }

    /// All values, row by row.
    pub fn data(self) -> &'a [f32] {
        self.data
    }

    pub(crate) fn same_width(self, other: Matrix<'_>) -> Result<()> {
        if self.cols == other.cols {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "vectors have length {} on one side and {} on the other: embed both with the same model",
            self.cols, other.cols
        )))
    }
}
