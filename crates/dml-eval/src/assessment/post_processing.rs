//! Retrieval once more, after something has been done to the embeddings or to the rankings.

use super::comparison::{MeasureComparison, paired};
use super::set::{EvaluationSet, Parts};
use super::{Assessment, AssessmentOptions, retrieval_table};
use crate::postprocess::{
    Expansion, KReciprocal, NeighbourWeights, Whitening, WhiteningOptions, augment_database, expand_queries,
    k_reciprocal, k_reciprocal_within,
};
use crate::report::MetricTable;
use crate::retrieval::{Measure, Measurements, Rankings, evaluate};
use crate::{Error, Result};
use dml_core::{Matrix, Metric, Nearest, Watch};
use serde::Serialize;

/// Pairs of a query and an item whose final distance re-ranking holds: 16 bytes each while lists are gathered.
const PAIRS: usize = 100_000_000;

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostProcess {
    /// Rankings by k-reciprocal neighbours, for sets of 10,000 rows at most (10⁸ pairs of a query and a gallery item).
    KReciprocal(KReciprocal),
    /// Queries become the mean of themselves and their neighbours; those that are gallery items are not their own.
    Expansion(Expansion),
    /// PCA whitening, fitted on the validation set.
    Whitening(WhiteningOptions),
}

/// Retrieval after it.
#[derive(Clone, Debug, Serialize)]
pub struct PostProcessed {
    /// What was done.
    pub process: PostProcess,
    /// The measures of the assessment, by the same rules.
    pub retrieval: Measurements,
    /// Each of them less what it was before, tested query by query; empty where intervals are switched off.
    pub gains: Vec<MeasureComparison>,
}

/// Measures the retrieval of a set that has been assessed once more, after `process`. `validation` is what whitening is
/// fitted on.
///
/// # Errors
/// When the set is too large for re-ranking, whitening has no validation set, or the process refuses its parameters, the
/// metric or the set.
pub fn post_process(
    set: &EvaluationSet<'_>,
    assessment: &Assessment,
    process: &PostProcess,
    validation: Option<&EvaluationSet<'_>>,
    options: &AssessmentOptions,
    watch: Watch<'_>,
) -> Result<PostProcessed> {
    let (metric, x, parts) = (options.metric, set.embeddings, set.parts());
    let rank = |queries: Matrix<'_>, gallery: Matrix<'_>| parts.rank(metric, (queries, gallery), options.ties, watch);
    let rankings = match process {
        PostProcess::KReciprocal(how) => rerank(metric, x, &parts, how)?,
        PostProcess::Expansion(how) => {
            let expanded = expand(metric, x, &parts, how)?;
            let gallery = parts.rows(x, &parts.gallery);
            rank(Matrix::new(&expanded, parts.queries.len(), x.cols())?, gallery.matrix()?)?
        }
        PostProcess::Whitening(how) => {
            let fitted_on = validation.ok_or_else(|| {
                Error::Input("whitening is fitted on other rows than are measured: give a validation set".to_owned())
            })?;
            let fitted = Whitening::fit(fitted_on.embeddings, how)?;
            let values = fitted.apply(x)?;
            let whitened = Matrix::new(&values, x.rows(), fitted.map.outputs())?;
            let (queries, gallery) = (parts.rows(whitened, &parts.queries), parts.rows(whitened, &parts.gallery));
            rank(queries.matrix()?, gallery.matrix()?)?
        }
    };
    let before = &assessment.retrieval;
    let measures: Vec<Measure> = before.measured.iter().map(|measured| measured.measure).collect();
    let retrieval = evaluate(&rankings, &measures, Some(&parts.query_labels), &before.policy)?;
    let gains = if before.policy.bootstrap.resamples > 0 { paired(&retrieval, before)? } else { Vec::new() };
    Ok(PostProcessed { process: process.clone(), retrieval, gains })
}

/// Whole rankings by k-reciprocal neighbours. Where a query may be found itself, it is ranked within all rows, queries and
/// gallery, each once: as another row it would be its own nearest neighbour.
fn rerank(metric: Metric, x: Matrix<'_>, parts: &Parts, how: &KReciprocal) -> Result<Rankings> {
    let (queries, gallery) = (&parts.queries, &parts.gallery);
    let mut all: Vec<u32> = queries.iter().chain(gallery).copied().collect();
    all.sort_unstable();
    all.dedup();
    let apart = all.len() == queries.len() + gallery.len();
    let pairs = if apart { queries.len().saturating_mul(gallery.len()) } else { all.len().saturating_mul(all.len()) };
    if pairs > PAIRS {
        return Err(Error::Input(format!(
            "re-ranking holds the distance of every query to every item, {pairs} here of {PAIRS} at most (10,000 rows, each a \
             query): evaluate a split of the set, or leave re-ranking out"
        )));
    }
    if apart {
        let (asking, answering) = (parts.rows(x, queries), parts.rows(x, gallery));
        let found = k_reciprocal(metric, asking.matrix()?, answering.matrix()?, gallery.len(), how)?;
        return parts.place(&found);
    }
    let rows = parts.rows(x, &all);
    let found = k_reciprocal_within(metric, rows.matrix()?, all.len().saturating_sub(1), how)?;
    if queries.len() == all.len() && gallery.len() == all.len() {
        return parts.place(&found);
    }
    let places: Vec<Option<u32>> =
        all.iter().map(|row| gallery.binary_search(row).ok().map(|place| place as u32)).collect();
    let of_query = |row: &u32| {
        let at = all.partition_point(|other| other < row);
        let list = found.ids_of(at).iter().zip(found.scores_of(at));
        list.filter_map(|(&id, &score)| Some((places[id as usize]?, score)))
    };
    parts.place(&Nearest::from_lists(queries.iter().map(of_query)))
}

/// Expanded queries, `[q, d]`.
fn expand(metric: Metric, x: Matrix<'_>, parts: &Parts, how: &Expansion) -> Result<Vec<f32>> {
    let gallery = parts.rows(x, &parts.gallery);
    let place = |row: &u32| parts.gallery.binary_search(row).ok();
    let outside: Vec<u32> = parts.queries.iter().copied().filter(|row| place(row).is_none()).collect();
    let inside = if outside.len() < parts.queries.len() {
        augment_database(metric, gallery.matrix()?, how)?
    } else {
        Vec::new()
    };
    let outside = if outside.is_empty() {
        Vec::new()
    } else {
        expand_queries(metric, parts.rows(x, &outside).matrix()?, gallery.matrix()?, how)?
    };
    let d = x.cols();
    let mut others = outside.chunks_exact(d.max(1));
    let of_query = |row: &u32| match place(row) {
        Some(place) => &inside[place * d..(place + 1) * d],
        None => others.next().unwrap_or_default(),
    };
    Ok(parts.queries.iter().flat_map(of_query).copied().collect())
}

impl PostProcess {
    fn title(&self) -> &'static str {
        match self {
            Self::KReciprocal(_) => "Retrieval after k-reciprocal re-ranking",
            Self::Expansion(_) => "Retrieval after query expansion",
            Self::Whitening(_) => "Retrieval after whitening",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::KReciprocal(KReciprocal { k1, k2, lambda }) => {
                format!("k1 = {k1}, k2 = {k2}, λ = {lambda} (Zhong et al. 2017); equals by smaller index.")
            }
            Self::Expansion(Expansion { neighbours, weights }) => {
                let weights = match weights {
                    NeighbourWeights::Average => "all of weight 1".to_owned(),
                    NeighbourWeights::Power(alpha) => format!("weighed by cos^{alpha} (Radenović et al. 2018)"),
                    NeighbourWeights::Rank => "weighed by rank".to_owned(),
                };
                format!("{neighbours} neighbours of the gallery, {weights}.")
            }
            Self::Whitening(how) => {
                format!("PCA whitening fitted on the validation set, shrinkage {}, rows of length 1.", how.shrinkage)
            }
        }
    }
}

impl PostProcessed {
    pub(super) fn table(&self) -> MetricTable {
        let mut table = retrieval_table::table(self.process.title(), &self.retrieval);
        for (row, gain) in table.rows.iter_mut().zip(&self.gains) {
            let (points, p) = (100.0 * gain.test.difference, gain.test.p_value);
            row.definition += &format!(" {points:+.2} percentage points against before, p = {p:.4}.");
        }
        table.note = format!("{} {}", self.process.words(), table.note);
        table
    }
}
