//! Prototypical loss.
//!
//! The first `n_support` samples of each class of the batch are its support, the rest are queries; `c_k` is the mean of the
//! support: `mean_q −log softmax_k(−scale·‖f(q) − c_k‖²)_{y_q}`. Snell et al., *Prototypical Networks for Few-shot Learning*, 2017, eq. 2.
//! Squared distance, no temperature, no normalisation by default.

use crate::autograd::attach;
use crate::params::{parse, positive, wrong};
use crate::row_loss::{Space, between};
use crate::softmax::CrossEntropy;
use crate::{Context, Error, Objective, Result};
use candle_core::Tensor;
use dml_core::Metric;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Parameters of the prototypical loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrototypicalParams {
    /// Support samples per class. Default 1.
    pub n_support: usize,
    /// Factor on the squared distance (or on the cosine). Default 1.
    pub scale: f32,
    /// `squared_euclidean` (default) or `cosine`.
    pub metric: String,
}

impl Default for PrototypicalParams {
    fn default() -> Self {
        Self { n_support: 1, scale: 1.0, metric: "squared_euclidean".to_owned() }
    }
}

struct Prototypical {
    n_support: usize,
    metric: Metric,
    scale: f32,
}

impl Objective for Prototypical {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let n = embeddings.dims2()?.0;
        if n != labels.len() {
            return Err(Error::Labels(format!("{} labels for {n} embeddings: pass one label per row", labels.len())));
        }
        let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, &label) in labels.iter().enumerate() {
            rows.entry(label).or_default().push(i);
        }
        let (mut queries, mut query_labels) = (Vec::new(), Vec::new());
        // Row k averages the support of class k.
        let mut average = vec![0f32; rows.len() * n];
        for (k, (&label, rows)) in rows.iter().enumerate() {
            let (support, rest) = rows.split_at(self.n_support.min(rows.len()));
            support.iter().for_each(|&i| average[k * n + i] = 1.0 / support.len() as f32);
            queries.extend(rest.iter().map(|&i| i as u32));
            query_labels.extend(rest.iter().map(|_| label));
        }
        if queries.is_empty() {
            return attach(0.0, (embeddings, vec![0.0; embeddings.elem_count()]), vec![]);
        }
        let classes: Vec<u32> = rows.keys().copied().collect();
        let average = Tensor::from_vec(average, (classes.len(), n), embeddings.device())?;
        let prototypes = average.matmul(embeddings)?;
        let queries = embeddings.index_select(&Tensor::new(queries, embeddings.device())?, 0)?;
        let space = Space { metric: self.metric, normalize: false };
        let row = CrossEntropy { scale: self.scale };
        between((&queries, &query_labels), (&prototypes, &classes), space, &row)
    }
}

pub(crate) fn build(params: &Value, _context: &Context) -> Result<Box<dyn Objective>> {
    const NAME: &str = "prototypical";
    let p: PrototypicalParams = parse(NAME, params)?;
    positive(NAME, "scale", p.scale)?;
    if p.n_support == 0 {
        return Err(wrong(NAME, "n_support is 0: want 1 or more".to_owned()));
    }
    let metric: Metric = p.metric.parse()?;
    let scale = if metric.is_similarity() { p.scale } else { -p.scale };
    Ok(Box::new(Prototypical { n_support: p.n_support, metric, scale }))
}
