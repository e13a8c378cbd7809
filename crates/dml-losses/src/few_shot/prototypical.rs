//! Prototypical loss.
//!
//! The first `n_support` samples of each class of the batch are its support, the rest are queries; `c_k` is the mean of the
//! support: `mean_q −log softmax_k(−scale·‖f(q) − c_k‖²)_{y_q}`. Snell et al., *Prototypical Networks for Few-shot Learning*, 2017, eq. 2.
//! Squared distance, no temperature, no normalisation by default.

use crate::autograd::nothing;
use crate::params::{LossParams, metric, positive, wrong};
use crate::row_loss::{RowForm, Sides, Space, composed, on_host, wide};
use crate::setting::Setting;
use crate::softmax::CrossEntropy;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::{DType, Tensor, WithDType};
use dml_core::relevance::Labels;
use dml_core::rowwise::{Problem, rowwise};
use dml_core::{Matrix, Metric, Projection, Real, Reduction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of the prototypical loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrototypicalParams {
    /// Support samples per class. Default 1.
    pub n_support: usize,
    /// Factor on the squared distance (or on the cosine). Default 1.
    pub scale: f64,
    /// Any metric. Default `squared_euclidean`.
    pub metric: String,
}

impl Default for PrototypicalParams {
    fn default() -> Self {
        Self { n_support: 1, scale: 1.0, metric: "squared_euclidean".to_owned() }
    }
}

struct Prototypical {
    n_support: usize,
    /// As given. The setting's space has the dot product for cosine, of rows that are normalised before: here means come first.
    metric: Metric,
    row: CrossEntropy,
    setting: Setting,
}

/// Who of a batch is a query of which class, and who supports the classes.
struct Episode {
    /// Ascending; prototype `k` is that of class `k`.
    classes: Vec<u64>,
    support: Vec<Vec<usize>>,
    queries: Vec<usize>,
    query_labels: Vec<u64>,
}

impl Episode {
    fn new(labels: &[u64], n_support: usize) -> Self {
        let mut rows: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (i, &label) in labels.iter().enumerate() {
            rows.entry(label).or_default().push(i);
        }
        let mut episode =
            Self { classes: Vec::new(), support: Vec::new(), queries: Vec::new(), query_labels: Vec::new() };
        for (label, mut rows) in rows {
            let rest = rows.split_off(n_support.min(rows.len()));
            episode.query_labels.extend(rest.iter().map(|_| label));
            episode.queries.extend(rest);
            episode.classes.push(label);
            episode.support.push(rows);
        }
        episode
    }
}

impl Prototypical {
    /// Means and queries as rows of the host, and their gradients back to the rows they came from.
    fn fused<T: Real + WithDType>(&self, embeddings: &Tensor, episode: &Episode) -> Result<Evaluation> {
        let relevance = Labels::new(&episode.query_labels, &episode.classes, None);
        let run = self.setting.run(&relevance, &[]);
        let kernel = |x: Matrix<'_, T>, _: Option<Matrix<'_, T>>| {
            let d = x.cols();
            let mut prototypes = vec![T::zero(); episode.classes.len() * d];
            for (support, prototype) in episode.support.iter().zip(prototypes.chunks_exact_mut(d.max(1))) {
                let share = T::of(1.0 / support.len() as f64);
                let rows = support.iter().flat_map(|&i| x.row(i).iter().enumerate());
                rows.for_each(|(k, &v)| prototype[k] += share * v);
            }
            let queries: Vec<T> = episode.queries.iter().flat_map(|&i| x.row(i)).copied().collect();
            let output = rowwise(
                &Problem {
                    metric: self.metric,
                    anchors: Matrix::new(&queries, episode.queries.len(), d)?,
                    references: Some(Matrix::new(&prototypes, episode.classes.len(), d)?),
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
            for (support, from) in episode.support.iter().zip(output.d_references.chunks_exact(d.max(1))) {
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
        // Row k averages the support of class k.
        let mut average = vec![0f64; episode.classes.len() * n];
        for (support, row) in episode.support.iter().zip(average.chunks_exact_mut(n)) {
            support.iter().for_each(|&i| row[i] = 1.0 / support.len() as f64);
        }
        let average = Tensor::from_vec(average, (episode.classes.len(), n), device)?.to_dtype(embeddings.dtype())?;
        let prototypes = average.matmul(&embeddings)?;
        let rows: Vec<u32> = episode.queries.iter().map(|&i| i as u32).collect();
        let queries = embeddings.index_select(&Tensor::new(rows, device)?, 0)?;
        let relevance = Labels::new(&episode.query_labels, &episode.classes, None);
        let sides = Sides { anchors: &queries, references: Some(&prototypes) };
        composed(sides, &self.setting.run(&relevance, &[]), |scores, masks| self.row.compose(scores, masks))
    }
}

impl Objective for Prototypical {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(PrototypicalParams::NAME)?;
        batch.without_tuples(PrototypicalParams::NAME)?;
        let embeddings = batch.embeddings;
        let episode = Episode::new(batch.labels(PrototypicalParams::NAME)?, self.n_support);
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

impl LossParams for PrototypicalParams {
    const NAME: &'static str = "prototypical";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        if self.n_support == 0 {
            return Err(wrong(Self::NAME, "n_support is 0: want 1 or more".to_owned()));
        }
        metric(Self::NAME, &self.metric).map(|_| ())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        Ok(Box::new(Prototypical {
            n_support: self.n_support,
            metric,
            row: CrossEntropy { scale: -metric.sign() * self.scale },
            setting: Setting::new(Space::new(metric, false), Reduction::Mean, context),
        }))
    }
}
