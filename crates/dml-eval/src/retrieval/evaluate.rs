//! From rankings to numbers: what happens to queries without a right answer, and how queries are put together.

use super::measure::Measure;
use super::rankings::{Ranking, Rankings};
use crate::statistics::{Bootstrap, Interval, PairedTest, bootstrap, mean, std, student, wilson95};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to do with a query to which nothing is relevant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lone {
    /// Counted, and left out of the means: pytorch-metric-learning, sentence-transformers.
    #[default]
    Drop,
    /// It has the value 0: OML, TensorFlow Similarity, Roth 2020, torchmetrics.
    Zero,
    /// An error.
    Refuse,
}

/// What to do when a measure looks beyond the end of a ranking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// An error.
    #[default]
    Refuse,
    /// The measure looks at the ranking's length, and divides by no more: OML, torchmetrics with `adaptive_k`.
    Clip,
    /// Places beyond the end are misses: sentence-transformers, torchmetrics.
    Miss,
}

/// How queries are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Queries without a relevant item.
    pub lone: Lone,
    /// Measures that look beyond a ranking.
    pub beyond: Beyond,
    /// Intervals by drawing classes again.
    pub bootstrap: Bootstrap,
}

/// Measures of a set of queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// How they were put together.
    pub policy: Policy,
    /// Queries in the means.
    pub queries: Vec<u32>,
    /// Their labels; empty when none were given.
    pub labels: Vec<u32>,
    /// Queries to which nothing is relevant.
    pub lone_queries: usize,
    /// One per measure, in the order asked for.
    pub measured: Vec<Measured>,
}

/// One measure of a set of queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What is measured.
    pub measure: Measure,
    /// Mean over queries.
    pub micro_mean: f64,
    /// Mean over labels of the mean over their queries; the mean over queries when there are no labels.
    pub macro_mean: f64,
    /// Of the mean over queries, as if they were independent: s/√n. `None` of one query.
    pub standard_error: Option<f64>,
    /// 95 % interval of the mean over queries, as if they were independent: Student's t. `None` of one query.
    pub student: Option<Interval>,
    /// 95 % interval of a share of hits, as if queries were independent: Wilson's. `None` of other measures.
    pub wilson: Option<Interval>,
    /// 95 % interval of the mean over queries when classes are drawn again; of queries when there are no labels.
    pub micro_bootstrap: Option<Interval>,
    /// 95 % interval of the mean over labels when classes are drawn again.
    pub macro_bootstrap: Option<Interval>,
    /// Labels, rising, with their means; empty when none were given.
    pub classes: Vec<ClassMean>,
    /// Value of each query of [`Measurements::queries`].
    pub values: Vec<f64>,
}

/// Mean over the queries of a label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMean {
    /// The label.
    pub label: u32,
    /// Mean over its queries.
    pub mean: f64,
    /// Queries in it.
    pub queries: usize,
}

/// Measures rankings. `labels` are the queries', for means, intervals and tests by class; without them each query is a
/// class of its own.
///
/// # Errors
/// When labels are not one per query; when no query is left; when a measure looks beyond a ranking or further than it is
/// known; when there are lone queries and the policy refuses them.
pub fn evaluate(
    rankings: &Rankings,
    measures: &[Measure],
    labels: Option<&[u32]>,
    policy: &Policy,
) -> Result<Measurements> {
    evaluate_draws(std::slice::from_ref(rankings), measures, labels, policy)
}

/// Measures rankings of the same queries by galleries that were drawn at random: a query's value is its mean over draws.
///
/// # Errors
/// As [`evaluate`]; when there is no draw, or draws differ in their queries.
pub fn evaluate_draws(
    draws: &[Rankings],
    measures: &[Measure],
    labels: Option<&[u32]>,
    policy: &Policy,
) -> Result<Measurements> {
    let n = draws.first().map_or(0, Rankings::queries);
    if let Some(other) = draws.iter().find(|draw| draw.queries() != n) {
        return Err(Error::Input(format!(
            "one draw has {n} queries, another {}: draw galleries only",
            other.queries()
        )));
    }
    if let Some(labels) = labels.filter(|labels| labels.len() != n) {
        return Err(Error::Input(format!("there are {} labels for {n} queries: give one per query", labels.len())));
    }
    measures.iter().try_for_each(|measure| measure.check())?;
    let has_answer = |q: u32| draws.iter().filter_map(|draw| draw.get(q as usize)).any(|ranking| ranking.relevant > 0);
    let (answered, lone): (Vec<u32>, Vec<u32>) = (0..n as u32).partition(|&q| has_answer(q));
    let queries = match (policy.lone, lone.first()) {
        (Lone::Refuse, Some(q)) => {
            return Err(Error::Input(format!(
                "{} of {n} queries have nothing relevant in the gallery, query {q} first: leave them out, or say what they \
                 count (lone: drop, zero)",
                lone.len()
            )));
        }
        (Lone::Zero, _) => (0..n as u32).collect(),
        _ => answered,
    };
    if queries.is_empty() {
        return Err(Error::Input(format!(
            "none of {n} queries has a relevant item in the gallery: there is nothing to measure"
        )));
    }
    let of_queries = |labels: &[u32]| queries.iter().map(|&q| labels[q as usize]).collect::<Vec<_>>();
    let labels = labels.map(of_queries);
    let values = |&measure: &Measure| values(draws, &queries, measure, policy.beyond);
    let values = measures.iter().map(values).collect::<Result<Vec<Vec<f64>>>>()?;
    Ok(Measurements {
        policy: *policy,
        measured: summarise(measures, values, labels.as_deref(), policy.bootstrap),
        labels: labels.unwrap_or_default(),
        lone_queries: lone.len(),
        queries,
    })
}

/// Value of each query, its mean over draws.
fn values(draws: &[Rankings], queries: &[u32], measure: Measure, beyond: Beyond) -> Result<Vec<f64>> {
    let rankings = |q: u32| draws.iter().filter_map(move |draw| draw.get(q as usize));
    // One after another, so that the error is that of the first query on any number of threads.
    for &q in queries {
        rankings(q).try_for_each(|ranking| check_places(q, measure, ranking, beyond))?;
    }
    let value = |&q: &u32| {
        let values = rankings(q).filter(|ranking| ranking.relevant > 0).map(|ranking| {
            let places = measure.within().places(ranking);
            measure.value_within(ranking, if beyond == Beyond::Clip { places.min(ranking.length) } else { places })
        });
        values.sum::<f64>() / draws.len() as f64
    };
    Ok(queries.par_iter().map(value).collect())
}

fn check_places(q: u32, measure: Measure, ranking: Ranking<'_>, beyond: Beyond) -> Result<()> {
    let Ranking { length, known, relevant, .. } = ranking;
    let places = measure.within().places(ranking);
    if relevant == 0 {
        Ok(())
    } else if places > length && beyond == Beyond::Refuse {
        Err(Error::Input(format!(
            "{measure} looks at {places} places but the gallery has {length} items for query {q}: lower k, or say what lies \
             beyond (beyond: clip, miss)"
        )))
    } else if places.min(length) > known {
        Err(Error::Input(format!(
            "{measure} looks at {} places of query {q}'s ranking but only {known} are known: search that deep",
            places.min(length)
        )))
    } else {
        Ok(())
    }
}

/// Means and intervals of each measure. `values` has a list per measure, a value per query.
fn summarise(
    measures: &[Measure],
    values: Vec<Vec<f64>>,
    labels: Option<&[u32]>,
    resample: Bootstrap,
) -> Vec<Measured> {
    let n = values.first().map_or(0, Vec::len);
    let alone: Vec<u32> = (0..n as u32).collect();
    let clusters = labels.unwrap_or(&alone);
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    clusters.iter().for_each(|&cluster| *sizes.entry(cluster).or_default() += 1);
    let sums: Vec<Vec<(f64, usize)>> = values.iter().map(|values| bootstrap::cluster_sums(values, clusters)).collect();
    let means = |sums: &[(f64, usize)]| sums.iter().map(|&(sum, count)| sum / count as f64).collect::<Vec<_>>();
    let class_means: Vec<Vec<f64>> = sums.iter().map(|sums| means(sums)).collect();
    // Micro and macro mean of each measure, of the same draws.
    let statistics = |drawn: &[u32]| {
        let of_measure = |(sums, means): (&Vec<(f64, usize)>, &Vec<f64>)| {
            let macro_mean = drawn.iter().map(|&c| means[c as usize]).sum::<f64>() / drawn.len() as f64;
            [bootstrap::ratio(sums, drawn), macro_mean]
        };
        sums.iter().zip(&class_means).flat_map(of_measure).collect()
    };
    let intervals = resample.intervals(sizes.len(), statistics);
    let mut intervals = intervals.into_iter();
    let t = student::t975(n.saturating_sub(1).max(1) as f64);
    let mut summaries = Vec::with_capacity(measures.len());
    for ((&measure, values), class_means) in measures.iter().zip(values).zip(class_means) {
        let standard_error = (n > 1).then(|| std(&values) / (n as f64).sqrt());
        let micro_mean = mean(&values);
        let hits = values.iter().filter(|&&value| value == 1.0).count();
        let is_share = matches!(measure, Measure::HitRate { .. }) && values.iter().all(|&v| v == 0.0 || v == 1.0);
        let class = |((&label, &queries), &mean)| ClassMean { label, mean, queries };
        summaries.push(Measured {
            measure,
            micro_mean,
            macro_mean: mean(&class_means),
            standard_error,
            student: standard_error.map(|error| Interval { low: micro_mean - t * error, high: micro_mean + t * error }),
            wilson: if is_share { wilson95(hits, n) } else { None },
            micro_bootstrap: intervals.next().flatten(),
            macro_bootstrap: intervals.next().flatten(),
            classes: labels.map(|_| sizes.iter().zip(&class_means).map(class).collect()).unwrap_or_default(),
            values,
        });
    }
    summaries
}

impl Measurements {
    /// The results of a measure.
    pub fn get(&self, measure: Measure) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.measure == measure)
    }

    /// Whether this run differs from `other` in the mean over the same queries; classes are drawn again.
    ///
    /// # Errors
    /// When one has not the measure, or their queries or labels differ; as [`Bootstrap::paired`].
    pub fn compare(&self, other: &Self, measure: Measure, bootstrap: &Bootstrap) -> Result<PairedTest> {
        let missing = || Error::Input(format!("{measure} was not measured in both runs: measure it there too"));
        let (first, second) = (self.get(measure).ok_or_else(missing)?, other.get(measure).ok_or_else(missing)?);
        if self.queries != other.queries || self.labels != other.labels {
            return Err(Error::Input(format!(
                "the runs measured {} and {} queries, not the same ones with the same labels: compare runs on one set",
                self.queries.len(),
                other.queries.len()
            )));
        }
        let clusters = if self.labels.is_empty() { &self.queries } else { &self.labels };
        bootstrap.paired(&first.values, &second.values, clusters)
    }
}
