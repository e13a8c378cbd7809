//! The plane of most variance.

use super::as_drawn;
use crate::Result;
use crate::finite::check_rows;
use crate::postprocess::Pca;
use dml_core::{Matrix, Metric};

/// Rows along their first two principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct PcaMap {
    /// One place per row, `[n]`.
    pub places: Vec<[f32; 2]>,
    /// Share of the variance that the plane holds; 0 where nothing varies.
    pub explained: f64,
}

/// The first two principal components of the rows of `x` (`[n, d]`): of rows of length 1 for cosine, of rows as they are
/// otherwise. Rows of one number lie on a line.
///
/// Distances in the map are those of the space without what the plane does not hold. Pearson, *On Lines and Planes of Closest
/// Fit to Systems of Points in Space*, 1901.
///
/// # Errors
/// When there are fewer than 3 rows, or a value is not finite.
pub fn pca_map(metric: Metric, x: Matrix<'_>) -> Result<PcaMap> {
    check_rows("a map", x, 3)?;
    let (values, _) = as_drawn(metric, x);
    let rows = Matrix::new(&values, x.rows(), x.cols())?;
    let kept = x.cols().min(2);
    let pca = Pca::fit(rows, Some(kept))?;
    let flat = pca.transform(rows)?;
    let place = |at: &[f32]| [at[0], at.get(1).copied().unwrap_or(0.0)];
    let explained = pca.explained_variance_ratio().iter().sum();
    Ok(PcaMap { places: flat.chunks_exact(kept).map(place).collect(), explained })
}
