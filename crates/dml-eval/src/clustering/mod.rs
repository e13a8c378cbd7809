//! Clusters of the embeddings against the classes: k-means, and how far its clusters are the classes.
//!
//! Any two labelings can be compared ([`Agreement`]); [`cluster_quality`] clusters first.

mod agreement;
mod centroids;
pub mod contingency;
pub mod kmeans;
pub mod mutual_information;
pub mod pair_counting;
mod seeding;

pub use agreement::Agreement;
pub use contingency::{Cell, Contingency};
pub use kmeans::{Init, KMeans, KMeansResult};
pub use mutual_information::{Average, MutualInformation};
pub use pair_counting::PairCounts;

use crate::statistics::{mean, std};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, Projection};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// How [`cluster_quality`] clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterOptions {
    /// A run for each.
    pub seeds: Vec<u64>,
    /// Starts of a run, of which the best by inertia is kept.
    pub restarts: usize,
    /// Passes of a start at most.
    pub iterations: usize,
    /// k; none: the number of classes.
    pub clusters: Option<usize>,
    /// Centroids of length 1, too; for cosine only.
    pub spherical: bool,
}

/// Seeds 0, 1 and 2, 1 start of 25 passes, as many clusters as classes, not spherical.
impl Default for ClusterOptions {
    fn default() -> Self {
        Self { seeds: vec![0, 1, 2], restarts: 1, iterations: 25, clusters: None, spherical: false }
    }
}

/// What came of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRun {
    /// Seed.
    pub seed: u64,
    /// `Σ ‖x − c‖²`, of rows as they are compared.
    pub inertia: f64,
    /// Passes.
    pub iterations: usize,
    /// Whether it stopped by itself.
    pub converged: bool,
    /// Scores.
    pub agreement: Agreement,
}

/// How far clusters of the embeddings are the classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// Metric, by name.
    pub metric: String,
    /// n.
    pub rows: usize,
    /// Classes.
    pub classes: usize,
    /// k.
    pub clusters: usize,
    /// Whether centroids had length 1.
    pub spherical: bool,
    /// Each score, mean over seeds.
    pub mean: Agreement,
    /// Each score, sample standard deviation over seeds (divisor n − 1); 0 of one seed.
    pub std: Agreement,
    /// The runs, in order of their seeds.
    pub runs: Vec<ClusterRun>,
}

/// Clusters `embeddings` (`[n, d]`) by k-means and compares with `labels` (`[n]`).
///
/// A mean is a centre for Euclidean distances only: `euclidean` and `squared_euclidean` take rows as given, `cosine` brings
/// them to length 1 first, as the DML papers do.
///
/// # Errors
/// When the metric is another, labels are not one per row, there are no seeds or one comes twice, or as [`KMeans::fit`].
pub fn cluster_quality(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    options: &ClusterOptions,
) -> Result<Clustering> {
    check(embeddings, labels)?;
    let projection = match metric {
        Metric::Cosine => Projection::Unit,
        Metric::Euclidean | Metric::SquaredEuclidean => Projection::None,
        _ => {
            return Err(Error::Input(format!(
                "k-means has no centroids for metric {metric}: use cosine, euclidean or squared_euclidean"
            )));
        }
    };
    if options.spherical && metric != Metric::Cosine {
        return Err(Error::Input(format!("spherical k-means compares by cosine, not by {metric}: use cosine")));
    }
    if options.seeds.is_empty() {
        return Err(Error::Input("clustering was given no seeds: want one or more".to_owned()));
    }
    let mut seen = HashSet::new();
    if let Some(seed) = options.seeds.iter().find(|seed| !seen.insert(**seed)) {
        return Err(Error::Input(format!("seed {seed} of clustering comes twice: give each once")));
    }
    let classes = labels.iter().collect::<HashSet<_>>().len();
    let clusters = options.clusters.unwrap_or(classes);
    let rows = projection.apply(embeddings).values;
    let rows = Matrix::new(&rows, embeddings.rows(), embeddings.cols())?;
    let run = |&seed: &u64| {
        let (restarts, iterations, spherical) = (options.restarts, options.iterations, options.spherical);
        let found = KMeans { restarts, iterations, spherical, seed, ..KMeans::new(clusters) }.fit(rows)?;
        let agreement = Agreement::new(labels, &found.assignment)?;
        let KMeansResult { inertia, iterations, converged, .. } = found;
        Ok(ClusterRun { seed, inertia, iterations, converged, agreement })
    };
    let runs = options.seeds.iter().map(run).collect::<Result<Vec<ClusterRun>>>()?;
    let scores: Vec<Agreement> = runs.iter().map(|run| run.agreement).collect();
    Ok(Clustering {
        metric: metric.to_string(),
        rows: embeddings.rows(),
        classes,
        clusters,
        spherical: options.spherical,
        mean: Agreement::over(&scores, mean),
        std: Agreement::over(&scores, std),
        runs,
    })
}
