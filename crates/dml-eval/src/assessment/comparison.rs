//! Two runs on the same items: does one retrieve better than the other?

use super::set::EvaluationSet;
use super::{Assessment, AssessmentOptions};
use crate::report::{MetricRow, MetricTable};
use crate::retrieval::{Measure, Measurements, evaluate};
use crate::statistics::{Bootstrap, PairedTest};
use crate::{Error, Result, check};
use dml_core::{Matrix, Watch};
use serde::{Deserialize, Serialize};

/// A run against another one, query by query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// What the other run is called.
    pub other: String,
    /// Length of its embeddings.
    pub dimensions: usize,
    /// Queries that both answered.
    pub queries: usize,
    /// How classes were drawn again.
    pub bootstrap: Bootstrap,
    /// Measure by measure.
    pub measures: Vec<MeasureComparison>,
}

/// Two runs by one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureComparison {
    /// What was measured.
    pub measure: Measure,
    /// Mean over queries of this run.
    pub this: f64,
    /// Mean over the same queries of the other run.
    pub other: f64,
    /// This less the other.
    pub test: PairedTest,
}

/// Compares a set that has been assessed with `other`, embeddings of the same rows (`[n, d']`) by another run: every
/// retrieval measure of the assessment, by the same rules, with a paired bootstrap test that draws whole classes again
/// ([`Bootstrap::paired`]). `name` is what the other run is called.
///
/// # Errors
/// When the two have not the same number of rows, an embedding is not finite, `assessment` is of another set, there are
/// queries of one class only, or its intervals were switched off (0 resamples).
pub fn compare(
    set: &EvaluationSet<'_>,
    assessment: &Assessment,
    (name, other): (&str, Matrix<'_>),
    options: &AssessmentOptions,
    watch: Watch<'_>,
) -> Result<RunComparison> {
    if other.rows() != set.embeddings.rows() {
        return Err(Error::Input(format!(
            "{name} has {} rows but the set has {}: compare embeddings of the same items in the same order",
            other.rows(),
            set.embeddings.rows()
        )));
    }
    check(other, set.labels)?;
    let parts = set.parts();
    let (queries, gallery) = (parts.rows(other, &parts.queries), parts.rows(other, &parts.gallery));
    let rankings = parts.rank(options.metric, (queries.matrix()?, gallery.matrix()?), options.ties, watch)?;
    let this = &assessment.retrieval;
    let measures: Vec<Measure> = this.measured.iter().map(|measured| measured.measure).collect();
    let other_run = evaluate(&rankings, &measures, Some(&parts.query_labels), &this.policy)?;
    Ok(RunComparison {
        other: name.to_owned(),
        dimensions: other.cols(),
        queries: this.queries.len(),
        bootstrap: this.policy.bootstrap,
        measures: paired(this, &other_run)?,
    })
}

/// Every measure of `this` against that of `other`.
pub(super) fn paired(this: &Measurements, other: &Measurements) -> Result<Vec<MeasureComparison>> {
    let of_measure = |(a, b): (&crate::retrieval::Measured, &crate::retrieval::Measured)| {
        let test = this.compare(other, a.measure, &this.policy.bootstrap)?;
        Ok(MeasureComparison { measure: a.measure, this: a.micro_mean, other: b.micro_mean, test })
    };
    this.measured.iter().zip(&other.measured).map(of_measure).collect()
}

impl RunComparison {
    pub(super) fn table(&self) -> MetricTable {
        let row = |found: &MeasureComparison| MetricRow {
            name: format!("{} (p = {:.4})", found.measure.title(), found.test.p_value),
            value: found.test.difference,
            low: Some(found.test.interval.low),
            high: Some(found.test.interval.high),
            percent: true,
            definition: format!("{:.2} % here less {:.2} % there", 100.0 * found.this, 100.0 * found.other),
            n: Some(self.queries),
        };
        let clusters = self.measures.first().map_or(0, |found| found.test.clusters);
        MetricTable {
            title: format!("Compared with {}", self.other),
            rows: self.measures.iter().map(row).collect(),
            note: format!(
                "Differences in percentage points, of the same {} queries by embeddings of length {}. Intervals (95 %) and \
                 two-sided p: paired bootstrap, {} draws of {clusters} classes, seed {}. p is not corrected for the number of \
                 measures.",
                self.queries, self.dimensions, self.bootstrap.resamples, self.bootstrap.seed
            ),
        }
    }
}
