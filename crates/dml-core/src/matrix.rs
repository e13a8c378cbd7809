//! A borrowed matrix, checked once.

use crate::{Error, Result};

/// Borrowed row-major values `[rows, cols]`.
#[derive(Debug)]
pub struct Matrix<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
}

impl<T> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Matrix<'_, T> {}

impl<'a, T> Matrix<'a, T> {
    /// A view of `data` as `[rows, cols]`.
    ///
    /// # Errors
    /// When `data` has not `rows · cols` values.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::Shape(format!(
                "a matrix of {rows} rows and {cols} columns wants {} values but was given {}: check the embedding length",
                rows.saturating_mul(cols),
                data.len()
            )));
        }
        Ok(Self { data, rows, cols })
    }

    /// A view of values known to fit.
    pub(crate) fn from_parts(data: &'a [T], rows: usize, cols: usize) -> Self {
        debug_assert_eq!(data.len(), rows * cols);
        Self { data, rows, cols }
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
    pub fn row(self, i: usize) -> &'a [T] {
        &self.data[i * self.cols..][..self.cols]
    }

    /// All values, row by row.
    pub fn data(self) -> &'a [T] {
        self.data
    }

    pub(crate) fn same_width(self, other: Matrix<'_, T>) -> Result<()> {
        if self.cols == other.cols {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "vectors have length {} on one side and {} on the other: embed both with the same model",
            self.cols, other.cols
        )))
    }
}
