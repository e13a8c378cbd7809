//! Everything that can be said of one set of embeddings, and the report of it: what `dml evaluate` runs.
//!
//! | what | file |
//! |---|---|
//! | who asks, who answers | `set.rs` |
//! | the measures | here |
//! | the same items by another run | `comparison.rs` |
//! | pairs that a list names | `pair_list.rs` |
//! | retrieval after re-ranking, query expansion, whitening | `post_processing.rs` |
//! | recognition over random galleries | `recognition.rs` |
//! | what was chosen on other classes | `calibrated.rs`, `calibrated_sections.rs` |
//! | queries to look at, who is taken for whom | `examples.rs` |
//! | similarities of pairs | `similarities.rs` |
//! | maps of the space | `maps.rs` |
//! | the report | `sections.rs` |

mod calibrated;
mod calibrated_sections;
mod comparison;
mod examples;
mod maps;
mod pair_list;
mod post_processing;
mod recognition;
mod retrieval_table;
mod sections;
mod set;
mod similarities;

pub use calibrated::{Calibrated, Probabilities, Scaled, TriedThreshold, calibrate};
pub use comparison::{MeasureComparison, RunComparison, compare};
pub use examples::{Confusion, Example};
pub use maps::{Maps, SpaceMap};
pub use pair_list::{PairListVerification, verify_pairs};
pub use post_processing::{PostProcess, PostProcessed, post_process};
pub use set::EvaluationSet;
pub use similarities::Similarities;

use crate::clustering::{ClusterOptions, Clustering, cluster_quality};
use crate::diagnostics::{DiagnosticOptions, Diagnostics, diagnose};
use crate::few_shot::{Episodes, FewShot, few_shot};
use crate::identification::Recognition;
use crate::projection::MapKind;
use crate::retrieval::{Beyond, Measure, Measurements, Policy, Ties, evaluate};
use crate::verification::{self, Limits, OperatingPoint, Verification, VerificationIntervals, verification_with_roc};
use crate::{Error, Result};
use dml_core::{Metric, Watch};
use serde::Serialize;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct AssessmentOptions {
    /// How embeddings are compared.
    pub metric: Metric,
    /// Retrieval measures; empty: Recall@1, 10, 100 and 1000 as far as the gallery goes, MAP@R, R-precision, mAP, MRR.
    pub measures: Vec<Measure>,
    /// Lone queries, short galleries, intervals.
    pub policy: Policy,
    /// Who is first among equals.
    pub ties: Ties,
    /// FARs of verification.
    pub fars: Vec<f64>,
    /// Resamples of verification's intervals; 0: none.
    pub resamples: usize,
    /// FPIRs of recognition.
    pub fpirs: Vec<f64>,
    /// Items that recognition enrols of each class.
    pub shots: usize,
    /// Random galleries of recognition, each of half of the classes; 0: left out.
    pub galleries: usize,
    /// k-means against the classes; none: left out.
    pub clustering: Option<ClusterOptions>,
    /// Few-shot episodes per shape; 0: left out.
    pub episodes: usize,
    /// Queries shown of the best, the worst and random ones.
    pub shown: usize,
    /// Maps of the space, in the order of [`MapKind::ALL`]; empty: none.
    pub maps: Vec<MapKind>,
    /// Rows that the maps show at most. t-SNE of 3000 takes some seconds, and a little more than so many times as long of more.
    pub mapped_rows: usize,
    /// Perplexity of t-SNE, held as [`TsneOptions`](crate::projection::TsneOptions) says.
    pub perplexity: f64,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for AssessmentOptions {
    /// Cosine, ties by id, FARs 10⁻¹ to 10⁻⁴, 1000 resamples, FPIRs 0.1 and 0.01 of 10 galleries with one item a class, k-means
    /// with one seed, 1000 episodes, 5 queries of each kind, both maps of 3000 rows, perplexity 30.
    fn default() -> Self {
        Self {
            metric: Metric::Cosine,
            measures: Vec::new(),
            policy: Policy::default(),
            ties: Ties::ById,
            fars: vec![1e-1, 1e-2, 1e-3, 1e-4],
            resamples: 1000,
            fpirs: vec![0.1, 0.01],
            shots: 1,
            galleries: 10,
            clustering: Some(ClusterOptions { seeds: vec![0], ..ClusterOptions::default() }),
            episodes: 1000,
            shown: 5,
            maps: MapKind::ALL.to_vec(),
            mapped_rows: 3000,
            perplexity: 30.0,
            seed: 0,
        }
    }
}

/// What has been measured of a set.
#[derive(Clone, Debug, Serialize)]
pub struct Assessment {
    /// How embeddings were compared.
    pub metric: String,
    /// Embeddings.
    pub rows: usize,
    /// Their length.
    pub dimensions: usize,
    /// Classes.
    pub classes: usize,
    /// Queries.
    pub queries: usize,
    /// Gallery items.
    pub gallery: usize,
    /// Embeddings of nothing but zeros: their cosine to everything is 0.
    pub zero_rows: usize,
    /// Retrieval.
    pub retrieval: Measurements,
    /// The same rows by another run, where one was compared with ([`compare`]).
    pub comparison: Option<RunComparison>,
    /// Retrieval after what was done to embeddings or rankings ([`post_process`]).
    pub post_processed: Vec<PostProcessed>,
    /// All pairs of the set.
    pub verification: Option<Verification>,
    /// Intervals of it.
    pub verification_intervals: Option<VerificationIntervals>,
    /// Points of the ROC curve.
    pub roc: Vec<OperatingPoint>,
    /// The pairs of a list, where there is one ([`verify_pairs`]).
    pub pair_list: Option<PairListVerification>,
    /// Recognition over random galleries.
    pub recognition: Option<Recognition>,
    /// What was chosen on other classes and tried on these, where there are such ([`calibrate`]).
    pub calibration: Option<Calibrated>,
    /// k-means against the classes.
    pub clustering: Option<Clustering>,
    /// 5- and 20-way, 1- and 5-shot, as far as the classes have items for it.
    pub few_shot: Vec<FewShot>,
    /// The space.
    pub diagnostics: Diagnostics,
    /// Queries to look at.
    pub examples: Vec<Example>,
    /// Classes that are taken for others.
    pub confusions: Vec<Confusion>,
    /// Similarities of a sample of pairs.
    pub similarities: Option<Similarities>,
    /// The set, or a sample of it, in the plane.
    pub maps: Maps,
    /// What is to be borne in mind.
    pub warnings: Vec<String>,
}

/// Measures a set. `watch` is told how many scores of the rankings have been taken, and can break off.
///
/// What a set is too small for is left out, with a warning: verification wants two classes, one of them
/// with two items, t-SNE eight rows.
///
/// # Errors
/// When the set is not whole (see [`EvaluationSet::check`]), no query has an answer, a measure asks for more than there is, or a
/// FAR or FPIR is not within 0..1.
pub fn assess(set: &EvaluationSet<'_>, options: &AssessmentOptions, watch: Watch<'_>) -> Result<Assessment> {
    set.check()?;
    recognition::check(options)?;
    let (metric, x, labels) = (options.metric, set.embeddings, set.labels);
    let parts = set.parts();
    let mut warnings = Vec::new();
    let measures = if options.measures.is_empty() { usual(parts.reach) } else { options.measures.clone() };
    // The usual measures go as far as the gallery does.
    let beyond = if options.measures.is_empty() { Beyond::Clip } else { options.policy.beyond };
    let (queries, gallery) = (parts.rows(x, &parts.queries), parts.rows(x, &parts.gallery));
    let rankings = parts.rank(metric, (queries.matrix()?, gallery.matrix()?), options.ties, watch)?;
    let retrieval = evaluate(&rankings, &measures, Some(&parts.query_labels), &Policy { beyond, ..options.policy })?;
    if retrieval.lone_queries > 0 {
        warnings.push(format!(
            "{} of {} queries have nothing relevant in the gallery; policy: {:?}",
            retrieval.lone_queries,
            rankings.queries(),
            options.policy.lone
        ));
    }
    let zero_rows = (0..x.rows()).filter(|&i| x.row(i).iter().all(|&v| v == 0.0)).count();
    if zero_rows > 0 && metric == Metric::Cosine {
        warnings.push(format!("{zero_rows} embeddings are all zeros: their cosine to everything is taken as 0"));
    }
    let verified =
        of_enough(verification_with_roc(metric, x, labels, &options.fars, 400, &Limits::default()), &mut warnings)?;
    let (verification, roc) = verified.map_or((None, Vec::new()), |(verification, roc)| (Some(verification), roc));
    for point in verification.iter().flat_map(|v| &v.tar_at_far).filter(|point| point.too_few_impostors) {
        warnings.push(format!(
            "FAR {:e} was asked for, but there are fewer than {:.0} impostor pairs: too few to measure it",
            point.far,
            10.0 / point.far
        ));
    }
    let verification_intervals = match &verification {
        Some(_) if options.resamples > 0 => {
            let how =
                verification::Bootstrap { resamples: options.resamples, seed: options.seed, ..Default::default() };
            of_enough(verification::bootstrap(metric, x, labels, &options.fars, &how), &mut warnings)?
        }
        _ => None,
    };
    let recognition = match options.galleries {
        0 => None,
        _ => of_enough(recognition::recognise(set, options), &mut warnings)?,
    };
    warnings.extend(recognition.iter().flat_map(Recognition::warnings));
    let clustering = match &options.clustering {
        Some(how) if matches!(metric, Metric::Cosine | Metric::Euclidean | Metric::SquaredEuclidean) => {
            of_enough(cluster_quality(metric, x, labels, how), &mut warnings)?
        }
        _ => None,
    };
    let examples = examples::examples(metric, (queries.matrix()?, gallery.matrix()?), &parts, &retrieval, options)?;
    Ok(Assessment {
        metric: metric.to_string(),
        rows: x.rows(),
        dimensions: x.cols(),
        classes: set.classes(),
        queries: parts.queries.len(),
        gallery: parts.gallery.len(),
        zero_rows,
        few_shot: few_shots(metric, set, options)?,
        diagnostics: diagnose(metric, x, labels, &DiagnosticOptions::default())?,
        confusions: examples::confusions(metric, (queries.matrix()?, gallery.matrix()?), &parts)?,
        similarities: similarities::similarities(metric, x, labels)?,
        maps: maps::maps(x, labels, options, &mut warnings)?,
        retrieval,
        comparison: None,
        post_processed: Vec::new(),
        verification,
        verification_intervals,
        roc,
        pair_list: None,
        recognition,
        calibration: None,
        clustering,
        examples,
        warnings,
    })
}

/// What a set is too small for is left out, and said.
fn of_enough<T>(result: Result<T>, warnings: &mut Vec<String>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Input(why)) => {
            warnings.push(why);
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// The usual measures of rankings of so many items.
fn usual(reach: usize) -> Vec<Measure> {
    let recalls = [1, 10, 100, 1000].into_iter().filter(|&k| k <= reach).map(Measure::recall_at);
    recalls.chain([Measure::MAP_AT_R, Measure::R_PRECISION, Measure::MAP, Measure::MRR]).collect()
}

fn few_shots(metric: Metric, set: &EvaluationSet<'_>, options: &AssessmentOptions) -> Result<Vec<FewShot>> {
    /// Queries per class, as in the literature.
    const QUERIES: usize = 15;
    let sizes = set.class_sizes();
    let shapes = [(5, 1), (5, 5), (20, 1), (20, 5)].into_iter().filter(|_| options.episodes > 0);
    let fits = |&(ways, shots): &(usize, usize)| sizes.iter().filter(|&&size| size >= shots + QUERIES).count() >= ways;
    let of_shape = |(ways, shots)| {
        let how = Episodes { ways, shots, queries: QUERIES, episodes: options.episodes, seed: options.seed };
        few_shot(metric, set.embeddings, set.labels, &how)
    };
    shapes.filter(fits).map(of_shape).collect()
}
