//! STAND-IN, to be deleted when `dml_core::for_each_pair_tile` is there: the same signature and the same tiles.

use crate::Result;
use dml_core::{Matrix, Metric, scores};
use rayon::prelude::*;
use std::ops::Range;

/// Scores of rows against columns of one set.
pub(super) struct PairTile<'a> {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Row-major `[rows, columns]`.
    pub(super) scores: &'a [f32],
}

/// Calls `f` with tiles that cover each pair i < j once: off the diagonal rows lie before columns; on it tiles are square and
/// hold both triangles.
pub(super) fn for_each_pair_tile(metric: Metric, x: Matrix<'_>, f: impl Fn(&PairTile<'_>) + Sync) -> Result<()> {
    const SIDE: usize = 256;
    let (n, d) = (x.rows(), x.cols());
    let blocks = n.div_ceil(SIDE);
    let range = |b: usize| b * SIDE..n.min((b + 1) * SIDE);
    let tiles: Vec<(usize, usize)> = (0..blocks).flat_map(|a| (a..blocks).map(move |b| (a, b))).collect();
    tiles.into_par_iter().try_for_each(|(a, b)| {
        let (rows, columns) = (range(a), range(b));
        let part = |r: &Range<usize>| Matrix::new(&x.data()[r.start * d..r.end * d], r.len(), d);
        let mut out = vec![0f32; rows.len() * columns.len()];
        scores(metric, part(&rows)?, part(&columns)?, &mut out)?;
        f(&PairTile { rows, columns, scores: &out });
        Ok(())
    })
}
