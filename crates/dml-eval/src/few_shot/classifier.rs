//! How a query gets its class from a few labelled samples.

use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, Projection, scores};
use serde::{Deserialize, Serialize};

/// How a query gets its class. Of equal scores the class that comes first wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classifier {
    /// The nearest prototype: the mean of a class's raw embeddings. Snell et al., *Prototypical Networks for Few-shot
    /// Learning*, 2017, eq. 1.
    #[default]
    Prototype,
    /// The same with all embeddings, of samples and queries, brought to unit length first. Wang et al., *SimpleShot*,
    /// 2019 ("L2N"). The prototype itself is not brought to unit length, which a cosine does not see and a distance
    /// does.
    UnitPrototype,
    /// The prototype of raw embeddings with the highest cosine, whatever the metric. Chen et al., *Meta-Baseline*,
    /// 2021, eq. 2.
    CosinePrototype,
    /// The class of the nearest sample.
    NearestNeighbour,
    /// The class that most of the k nearest samples have; of classes with equally many, that of the nearest sample.
    Vote(usize),
}

impl Classifier {
    /// Refuses votes of nobody, or of more than there are.
    pub(super) fn check(self, samples: usize) -> Result<()> {
        match self {
            Self::Vote(k) if k == 0 || k > samples => Err(Error::Input(format!(
                "few-shot: {k} neighbours are to vote but there are {samples} labelled samples: want 1 to that"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn wants_unit_length(self) -> bool {
        self == Self::UnitPrototype
    }
}

/// Classifies each of `queries` (`[q, d]`) by labelled `samples` (`[m, d]`); the labels are answered. Classes count in
/// the order in which they first come among `labels`.
///
/// # Errors
/// When labels are not one per sample, an embedding is not finite, vectors differ in length or more samples
/// are to vote than there are.
pub fn classify(
    classifier: Classifier,
    metric: Metric,
    (samples, labels): (Matrix<'_>, &[u32]),
    queries: Matrix<'_>,
) -> Result<Vec<u32>> {
    check(samples, labels)?;
    check(queries, &vec![0; queries.rows()])?;
    classifier.check(labels.len())?;
    let mut names: Vec<u32> = Vec::new();
    let mut support = Support::new(samples.cols());
    let unit = classifier.wants_unit_length().then(|| (normalised(samples), normalised(queries)));
    let (samples, queries) = match &unit {
        Some((s, q)) => {
            (Matrix::new(s, samples.rows(), samples.cols())?, Matrix::new(q, queries.rows(), queries.cols())?)
        }
        None => (samples, queries),
    };
    let mut places = std::collections::BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        let way = *places.entry(label).or_insert_with(|| {
            names.push(label);
            names.len() - 1
        });
        support.push(samples.row(i), way);
    }
    Ok(support.classify(classifier, metric, queries)?.into_iter().map(|way| names[way]).collect())
}

/// Rows of unit length; rows of zeros stay.
pub(super) fn normalised(x: Matrix<'_>) -> Vec<f32> {
    Projection::Unit.apply(x).values
}

/// Labelled samples.
pub(super) struct Support {
    values: Vec<f32>,
    cols: usize,
    /// Class of each sample, from 0.
    ways: Vec<usize>,
    count: usize,
}

impl Support {
    pub(super) fn new(cols: usize) -> Self {
        Self { values: Vec::new(), cols, ways: Vec::new(), count: 0 }
    }

    pub(super) fn push(&mut self, row: &[f32], way: usize) {
        self.values.extend_from_slice(row);
        self.ways.push(way);
        self.count = self.count.max(way + 1);
    }

    /// The class of each query.
    pub(super) fn classify(&self, classifier: Classifier, metric: Metric, queries: Matrix<'_>) -> Result<Vec<usize>> {
        let table = |metric: Metric, rows: &[f32], count: usize| -> Result<Vec<f32>> {
            let mut table = vec![0f32; queries.rows() * count];
            scores(metric, queries, Matrix::new(rows, count, self.cols)?, &mut table)?;
            Ok(table)
        };
        let best = |metric: Metric, row: &[f32]| {
            (1..row.len()).fold(0, |best, j| if metric.closer(row[j], row[best]) { j } else { best })
        };
        let k = match classifier {
            Classifier::Prototype | Classifier::UnitPrototype | Classifier::CosinePrototype => {
                let cosine = classifier == Classifier::CosinePrototype;
                let metric = if cosine { Metric::Cosine } else { metric };
                let table = table(metric, &self.prototypes(), self.count)?;
                return Ok(table.chunks_exact(self.count).map(|row| best(metric, row)).collect());
            }
            Classifier::NearestNeighbour => 1,
            Classifier::Vote(k) => k,
        };
        let table = table(metric, &self.values, self.ways.len())?;
        Ok(table.chunks_exact(self.ways.len()).map(|row| self.vote(metric, row, k)).collect())
    }

    fn prototypes(&self) -> Vec<f32> {
        let mut sizes = vec![0usize; self.count];
        self.ways.iter().for_each(|&way| sizes[way] += 1);
        let mut prototypes = vec![0f32; self.count * self.cols];
        for (row, &way) in self.values.chunks_exact(self.cols.max(1)).zip(&self.ways) {
            let prototype = &mut prototypes[way * self.cols..][..self.cols];
            prototype.iter_mut().zip(row).for_each(|(p, v)| *p += v / sizes[way] as f32);
        }
        prototypes
    }

    /// The class that most of the k nearest have.
    fn vote(&self, metric: Metric, row: &[f32], k: usize) -> usize {
        let mut order: Vec<usize> = (0..row.len()).collect();
        // −0 is 0: they tie.
        let closeness = |i: usize| -metric.sign() * f64::from(row[i]) + 0.0;
        // Stable: of equal scores the sample that comes first, and so its class.
        order.sort_by(|&a, &b| closeness(b).total_cmp(&closeness(a)).then((self.ways[a], a).cmp(&(self.ways[b], b))));
        order.truncate(k);
        let mut votes = vec![0usize; self.count];
        order.iter().for_each(|&i| votes[self.ways[i]] += 1);
        let most = votes.iter().copied().max().unwrap_or(0);
        order.iter().map(|&i| self.ways[i]).find(|&way| votes[way] == most).unwrap_or(0)
    }
}
