//! What the embedding space looks like: lengths, distances, directions in use, hubs, alignment and uniformity.
//!
//! None of these says how good embeddings are; they say why a measure is what it is. One idea per file; [`diagnose`] asks
//! all of them.

pub mod alignment;
pub mod distances;
pub mod hubness;
pub mod norms;
pub(crate) mod pairs;
pub mod spectrum;
mod spread;

pub use alignment::{OverPairs, alignment, uniformity};
pub use distances::{ClassDistances, Density, Distances, PairDistances, distances};
pub use hubness::{Hubness, hubness, hubness_of, k_occurrences};
pub use norms::{NearDuplicates, Norms, near_duplicates, norms};
pub use pairs::PairSampling;
pub use spectrum::{Collapse, ComponentFraction, Spectrum, SpectrumOptions, spectrum};
pub use spread::Spread;

use crate::finite::check_rows;
use crate::{Result, check};
use dml_core::{Exclude, Matrix, Metric, Projection, nearest};
use serde::{Deserialize, Serialize};

/// What [`diagnose`] asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiagnosticOptions {
    /// Pairs looked at for distances and alignment, and for uniformity of large sets.
    pub pairs: PairSampling,
    /// Rows up to which uniformity is exact.
    pub exact_rows: usize,
    /// Spectrum.
    pub spectrum: SpectrumOptions,
    /// Neighbours by which hubness is measured; of a smaller set all n − 1.
    pub neighbours: usize,
    /// α of alignment.
    pub alpha: f64,
    /// t of uniformity.
    pub temperature: f64,
    /// Distance to the nearest neighbour, over their length, up to which a row is a near duplicate.
    pub near: f64,
}

/// A million pairs, uniformity exact up to 10,000 rows, 10 neighbours, α = 2, t = 2, near duplicates within 0.001.
impl Default for DiagnosticOptions {
    fn default() -> Self {
        Self {
            pairs: PairSampling::default(),
            exact_rows: 10_000,
            spectrum: SpectrumOptions::default(),
            neighbours: 10,
            alpha: 2.0,
            temperature: 2.0,
            near: 1e-3,
        }
    }
}

/// All diagnostics of a set of embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Metric, by name.
    pub metric: String,
    /// n.
    pub rows: usize,
    /// d.
    pub dimensions: usize,
    /// Classes.
    pub classes: usize,
    /// Classes of one row.
    pub lone_classes: usize,
    /// Lengths of the rows as given.
    pub norms: Norms,
    /// Rows that are next to another, as they are compared.
    pub near_duplicates: NearDuplicates,
    /// Distances within and between classes.
    pub distances: Distances,
    /// Spectrum of the rows as they are compared: of length 1 for cosine, as given otherwise.
    pub spectrum: Spectrum,
    /// Hubness.
    pub hubness: Hubness,
    /// Alignment, on the unit sphere whatever the metric; none where no class has two rows.
    pub alignment: Option<OverPairs>,
    /// Uniformity, on the unit sphere whatever the metric.
    pub uniformity: OverPairs,
}

/// Diagnoses `embeddings` (`[n, d]`), which are compared by `metric`. The same seed gives the same result on any number of
/// threads.
///
/// # Errors
/// When there are fewer than two rows, labels are not one per row, a value or a distance is not finite, or an option is out of
/// range.
pub fn diagnose(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    options: &DiagnosticOptions,
) -> Result<Diagnostics> {
    check(embeddings, labels)?;
    check_rows("diagnostics", embeddings, 2)?;
    let (n, d) = (embeddings.rows(), embeddings.cols());
    let classes = pairs::Classes::of(labels);
    let projection = if metric == Metric::Cosine { Projection::Unit } else { Projection::None };
    let compared = projection.apply(embeddings).values;
    let compared = Matrix::new(&compared, n, d)?;
    let k = options.neighbours.min(n - 1);
    let found = nearest(metric, compared, compared, k, Exclude::SelfIndex)?;
    let distances = distances(metric, embeddings, labels, &options.pairs)?;
    let alignment = match distances.intra {
        Some(_) => Some(alignment(embeddings, labels, options.alpha, &options.pairs)?),
        None => None,
    };
    Ok(Diagnostics {
        metric: metric.to_string(),
        rows: n,
        dimensions: d,
        classes: classes.rows.len(),
        lone_classes: classes.lone(),
        norms: norms(embeddings)?,
        near_duplicates: near_duplicates(compared, labels, &found, options.near)?,
        distances,
        spectrum: spectrum(compared, &options.spectrum)?,
        hubness: hubness_of(&found, n)?,
        alignment,
        uniformity: uniformity(embeddings, options.temperature, options.exact_rows, &options.pairs)?,
    })
}
