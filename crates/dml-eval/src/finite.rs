//! Refuses rows that hold no numbers.

use crate::{Error, Result};
use dml_core::Matrix;

/// Refuses fewer than `least` rows, rows without columns, and rows with a value that is not finite; `what` opens the message.
pub(crate) fn check_rows(what: &str, x: Matrix<'_>, least: usize) -> Result<()> {
    if x.rows() < least {
        return Err(Error::Input(format!("{what}: {} rows were given: want {least} or more", x.rows())));
    }
    if x.cols() == 0 {
        return Err(Error::Input(format!("{what}: the embeddings have no columns: check the model")));
    }
    check_finite(&format!("{what}: embedding"), x, 0)
}

/// Refuses rows with a value that is not finite. `what` says what a row is; the first is number `first`.
pub(crate) fn check_finite(what: &str, x: Matrix<'_>, first: usize) -> Result<()> {
    match x.data().iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Error::NotFinite(format!(
            "{what} {} holds a value that is not finite: check the model",
            first + at / x.cols()
        ))),
        None => Ok(()),
    }
}

/// Refuses rows of zeros, which have no direction.
pub(crate) fn check_directions(what: &str, x: Matrix<'_>) -> Result<()> {
    match (0..x.rows()).find(|&i| x.row(i).iter().all(|&v| v == 0.0)) {
        Some(row) => Err(Error::Input(format!(
            "{what}: embedding {row} is all zeros and has no direction: leave it out, or use a Euclidean metric"
        ))),
        None => Ok(()),
    }
}
