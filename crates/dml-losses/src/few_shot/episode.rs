//! An episode, and the losses that compare its queries with what its support gives.

use crate::autograd::nothing;
use crate::row_loss::{RowForm, Sides, composed, on_host, wide};
use crate::setting::Setting;
use crate::{Batch, Evaluation, Objective, Result};
use candle_core::{DType, Tensor, WithDType};
use dml_core::relevance::Labels;
use dml_core::rowwise::{Problem, RowObjective, rowwise};
use dml_core::{Matrix, Metric, Projection, Real};
use std::collections::BTreeMap;

/// Who of a batch is a query of which class, and what queries are compared with.
pub(super) struct Episode {
    /// Reference `k` is the mean of these rows.
    references: Vec<Vec<usize>>,
    reference_labels: Vec<u64>,
    queries: Vec<usize>,
    query_labels: Vec<u64>,
}

impl Episode {
    /// Queries against the mean of each class's support, classes ascending. The first `n_support` rows of a class are its
    /// support.
    pub(super) fn of_means(labels: &[u64], n_support: usize) -> Self {
        let mut rows: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (i, &label) in labels.iter().enumerate() {
            rows.entry(label).or_default().push(i);
        }
        let mut episode = Self {
            references: Vec::new(),
            reference_labels: Vec::new(),
            queries: Vec::new(),
            query_labels: Vec::new(),
        };
        for (label, mut rows) in rows {
            let rest = rows.split_off(n_support.min(rows.len()));
            episode.query_labels.extend(rest.iter().map(|_| label));
            episode.queries.extend(rest);
            episode.reference_labels.push(label);
            episode.references.push(rows);
        }
        episode
    }

    /// The same against every sample of the support.
    pub(super) fn of_samples(labels: &[u64], n_support: usize) -> Self {
        let Self { references, reference_labels, queries, query_labels } = Self::of_means(labels, n_support);
        let each = references.into_iter().zip(reference_labels);
        let (references, reference_labels) =
            each.flat_map(|(rows, label)| rows.into_iter().map(move |i| (vec![i], label))).unzip();
        Self { references, reference_labels, queries, query_labels }
    }
}

/// A row of each query against the references of its episode.
pub(super) struct EpisodeLoss<R> {
    /// In the registry.
    pub(super) name: &'static str,
    pub(super) n_support: usize,
    /// From labels and `n_support`.
    pub(super) episode: fn(&[u64], usize) -> Episode,
    /// As given. The setting's space has the dot product for cosine, of rows that are normalised before: here means come first.
    pub(super) metric: Metric,
    pub(super) row: R,
    pub(super) setting: Setting,
}

impl<R: RowForm> EpisodeLoss<R> {
    /// References and queries as rows of the host, and their gradients back to the rows they came from.
    fn fused<T: Real + WithDType>(&self, embeddings: &Tensor, episode: &Episode) -> Result<Evaluation>
    where
        R: RowObjective<T>,
    {
        let relevance = Labels::new(&episode.query_labels, &episode.reference_labels, None);
        let run = self.setting.run(&relevance, &[]);
        let kernel = |x: Matrix<'_, T>, _: Option<Matrix<'_, T>>| {
            let d = x.cols();
            let mut references = vec![T::zero(); episode.reference_labels.len() * d];
            for (support, reference) in episode.references.iter().zip(references.chunks_exact_mut(d.max(1))) {
                let share = T::of(1.0 / support.len() as f64);
                let rows = support.iter().flat_map(|&i| x.row(i).iter().enumerate());
                rows.for_each(|(k, &v)| reference[k] += share * v);
            }
            let queries: Vec<T> = episode.queries.iter().flat_map(|&i| x.row(i)).copied().collect();
            let output = rowwise(
                &Problem {
                    metric: self.metric,
                    anchors: Matrix::new(&queries, episode.queries.len(), d)?,
                    references: Some(Matrix::new(&references, episode.reference_labels.len(), d)?),
                    reference_gradient: true,
                    relevance: run.relevance,
                    reduction: run.reduction,
                    weights: run.weights,
                    memory: run.memory,
                },
                &self.row,
            )?;
            let mut gradient = vec![T::zero(); x.rows() * d];
            for (&i, from) in episode.queries.iter().zip(output.d_anchors.chunks_exact(d.max(1))) {
                gradient[i * d..][..d].copy_from_slice(from);
            }
            for (support, from) in episode.references.iter().zip(output.d_references.chunks_exact(d.max(1))) {
                let share = T::of(1.0 / support.len() as f64);
                for &i in support {
                    gradient[i * d..][..d].iter_mut().zip(from).for_each(|(to, &g)| *to = share * g);
                }
            }
            Ok((output.value, gradient, Vec::new(), output.statistics))
        };
        let sides = Sides { anchors: embeddings, references: None };
        let (loss, statistics) = on_host::<T, _>(sides, Projection::None, kernel)?;
        Ok(Evaluation { loss, statistics })
    }

    fn composed(&self, embeddings: &Tensor, episode: &Episode) -> Result<Evaluation> {
        let embeddings = wide(embeddings)?;
        let (n, device) = (embeddings.dim(0)?, embeddings.device());
        // Row k makes reference k.
        let mut average = vec![0f64; episode.reference_labels.len() * n];
        for (support, row) in episode.references.iter().zip(average.chunks_exact_mut(n)) {
            support.iter().for_each(|&i| row[i] = 1.0 / support.len() as f64);
        }
        let average =
            Tensor::from_vec(average, (episode.reference_labels.len(), n), device)?.to_dtype(embeddings.dtype())?;
        let references = average.matmul(&embeddings)?;
        let rows: Vec<u32> = episode.queries.iter().map(|&i| i as u32).collect();
        let queries = embeddings.index_select(&Tensor::new(rows, device)?, 0)?;
        let relevance = Labels::new(&episode.query_labels, &episode.reference_labels, None);
        let sides = Sides { anchors: &queries, references: Some(&references) };
        composed(sides, &self.setting.run(&relevance, &[]), |scores, masks| self.row.compose(scores, masks))
    }
}

impl<R: RowForm> Objective for EpisodeLoss<R> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(self.name)?;
        batch.without_tuples(self.name)?;
        let embeddings = batch.embeddings;
        let episode = (self.episode)(batch.labels(self.name)?, self.n_support);
        if episode.queries.is_empty() {
            return Ok(nothing(&[embeddings])?.into());
        }
        let sides = Sides { anchors: embeddings, references: None };
        if !self.setting.fused(sides) {
            return self.composed(embeddings, &episode);
        }
        if embeddings.dtype() == DType::F64 {
            self.fused::<f64>(embeddings, &episode)
        } else {
            self.fused::<f32>(embeddings, &episode)
        }
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}
