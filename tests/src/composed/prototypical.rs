//! Prototypical loss: cross-entropy of queries × class means.

use super::cross_entropy::cross_entropy;
use super::{nothing, rows_of_classes};
use candle_core::Tensor;
use dml_core::{Metric, pairwise};
use dml_losses::few_shot::prototypical::PrototypicalParams;
use dml_losses::{Objective, Result};

pub(super) struct Prototypical {
    params: PrototypicalParams,
    metric: Metric,
}

impl Prototypical {
    pub(super) fn new(params: PrototypicalParams) -> Result<Self> {
        Ok(Self { metric: params.metric.parse()?, params })
    }
}

impl Objective for Prototypical {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let (n, device) = (labels.len(), embeddings.device());
        let classes = rows_of_classes(labels);
        let (mut queries, mut targets): (Vec<u32>, Vec<u32>) = (vec![], vec![]);
        // One product makes all means: row k holds 1/support at the support of class k.
        let mut means = vec![0f64; classes.len() * n];
        for (class, rows) in classes.values().enumerate() {
            let (support, rest) = rows.split_at(self.params.n_support.min(rows.len()));
            support.iter().for_each(|&row| means[class * n + row as usize] = 1.0 / support.len() as f64);
            queries.extend(rest);
            targets.extend(rest.iter().map(|_| class as u32));
        }
        if queries.is_empty() {
            return nothing(embeddings);
        }
        let means = Tensor::from_vec(means, (classes.len(), n), device)?.to_dtype(embeddings.dtype())?;
        let queries = embeddings.index_select(&Tensor::new(queries, device)?, 0)?;
        let scores = pairwise(self.metric, &queries, &means.matmul(embeddings)?)?;
        let sign = if self.metric.is_similarity() { 1.0 } else { -1.0 };
        cross_entropy(&(scores * (sign * f64::from(self.params.scale)))?, &targets)
    }
}
