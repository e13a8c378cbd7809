//! Maps of the space: the same rows, drawn in more than one way.

use super::{AssessmentOptions, of_enough};
use crate::Result;
use crate::projection::{MapKind, TsneOptions, map_rows, neighbours_kept, pca_map, tsne_map_from};
use dml_core::Matrix;
use serde::Serialize;

/// Rows of a set in the plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Maps {
    /// The rows that are drawn, ascending: all, or [`map_rows`].
    pub rows: Vec<u32>,
    /// Each way that they are drawn.
    pub maps: Vec<SpaceMap>,
}

/// Rows in the plane, in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpaceMap {
    /// Which.
    pub kind: MapKind,
    /// How it came to be, in words.
    pub method: String,
    /// Share of the nearest neighbours in the space that are among the nearest in the map ([`neighbours_kept`]).
    pub neighbours_kept: f64,
    /// Neighbours that were looked at for it.
    pub neighbours: usize,
    /// Place of each row, `[rows]`.
    pub places: Vec<[f32; 2]>,
}

/// The maps that are wanted, as far as the set is large enough for them.
pub(super) fn maps(
    x: Matrix<'_>,
    labels: &[u32],
    options: &AssessmentOptions,
    warnings: &mut Vec<String>,
) -> Result<Maps> {
    let metric = options.metric;
    let wanted = |kind: MapKind| options.maps.contains(&kind);
    let rows = map_rows(labels, options.mapped_rows, options.seed);
    if options.maps.is_empty() || rows.len() < 3 {
        return Ok(Maps::default());
    }
    let values: Vec<f32> = rows.iter().flat_map(|&row| x.row(row as usize)).copied().collect();
    let sample = Matrix::new(&values, rows.len(), x.cols())?;
    let drawn = |kind: MapKind, method: String, places: Vec<[f32; 2]>| -> Result<SpaceMap> {
        let (neighbours_kept, neighbours) = neighbours_kept(metric, sample, &places)?;
        Ok(SpaceMap { kind, method, neighbours_kept, neighbours, places })
    };
    // Wanted or not, t-SNE starts from it.
    let Some(pca) = of_enough(pca_map(metric, sample), warnings)? else { return Ok(Maps::default()) };
    let mut maps = Vec::new();
    if wanted(MapKind::Tsne) {
        let how = TsneOptions { perplexity: options.perplexity, seed: options.seed, ..TsneOptions::default() };
        if let Some(found) = of_enough(tsne_map_from(metric, sample, &pca.places, &how), warnings)? {
            let perplexity = (100.0 * found.perplexity).round() / 100.0;
            let method = format!("Perplexity {perplexity}, {} steps from the PCA map", how.iterations);
            maps.push(drawn(MapKind::Tsne, method, found.places)?);
        }
    }
    if wanted(MapKind::Pca) {
        let method = format!("First two principal components: {:.1} % of the variance", 100.0 * pca.explained);
        maps.insert(0, drawn(MapKind::Pca, method, pca.places)?);
    }
    Ok(Maps { rows, maps })
}
