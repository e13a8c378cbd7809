//! Clusters of the embeddings against the classes: k-means, and how far its clusters are the classes.
//!
//! Any two labelings can be compared ([`Agreement`]); [`cluster_quality`] clusters first.

mod agreement;
mod assigner;
pub mod b_cubed;
mod centroids;
pub mod contingency;
mod greedy_seeding;
pub mod kmeans;
pub mod mutual_information;
pub mod pair_counting;
mod seeding;

pub use agreement::Agreement;
pub use b_cubed::BCubed;
pub use contingency::{Cell, Contingency};
pub use kmeans::{Init, KMeans, KMeansResult, Progress, Watch};
pub use mutual_information::{Average, MutualInformation};
pub use pair_counting::PairCounts;

use crate::statistics::{mean, std};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, Projection};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::ControlFlow;

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
    /// Where centroids start.
    pub init: Init,
    /// When a run stops by itself, as in [`KMeans`].
    pub tolerance: f64,
}

/// Seeds 0, 1 and 2, 1 start of 25 passes by k-means++, tolerance 1e-4, as many clusters as classes, not spherical.
impl Default for ClusterOptions {
    fn default() -> Self {
        Self { seeds: vec![0, 1, 2], ..Self::of(&KMeans::new(0)) }
    }
}

impl ClusterOptions {
    /// Settings of one k-means, such as [`KMeans::faiss`] or [`KMeans::sklearn`], and its seed; k is the number of classes.
    pub fn of(kmeans: &KMeans) -> Self {
        let KMeans { iterations, restarts, tolerance, seed, spherical, ref init, .. } = *kmeans;
        Self { seeds: vec![seed], restarts, iterations, clusters: None, spherical, init: init.clone(), tolerance }
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
    /// How it was clustered.
    pub options: ClusterOptions,
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
    cluster_quality_watched(metric, embeddings, labels, options, &|_| ControlFlow::Continue(()))
}

/// [`cluster_quality`], watched.
///
/// # Errors
/// As [`cluster_quality`], and `dml_core::Error::Cancelled` when `watch` breaks off.
pub fn cluster_quality_watched(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    options: &ClusterOptions,
    watch: Watch<'_>,
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
        let ClusterOptions { restarts, iterations, spherical, tolerance, ref init, .. } = *options;
        let kmeans = KMeans { clusters, iterations, restarts, tolerance, seed, spherical, init: init.clone() };
        let found = kmeans.fit_watched(rows, watch)?;
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
        options: options.clone(),
        mean: Agreement::over(&scores, mean),
        std: Agreement::over(&scores, std),
        runs,
    })
}
