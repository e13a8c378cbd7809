//! Database-side augmentation (DBA): each gallery row becomes the weighted mean of itself and its nearest other rows. Turcot &
//! Lowe, *Better Matching with Fewer Features*, 2009; for embeddings with weights by rank Gordo et al., 2017, §5.2.

use super::query_expansion::{Expansion, expand_within};
use crate::Result;
use dml_core::{Matrix, Metric};

/// `gallery` (`[m, d]`), each row with its neighbours added as query expansion would: `[m, d]`, of length 1 for cosine. All
/// rows are read before any is replaced.
///
/// # Errors
/// When there are fewer than two rows, a value is not finite, there are not more rows than neighbours, weights do not fit the
/// metric, or, for cosine, a row or a sum has no direction.
pub fn augment_database(metric: Metric, gallery: Matrix<'_>, expansion: &Expansion) -> Result<Vec<f32>> {
    expand_within(metric, gallery, expansion)
}
