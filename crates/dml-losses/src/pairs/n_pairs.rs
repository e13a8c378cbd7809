//! N-pair loss.
//!
//! One pair (anchor, positive) per class of the batch, its first two samples: `mean_i −log softmax_j(s·a_i·p_j)_i`, which is
//! `log(1 + Σ_{j≠i} e^{s(a_i·p_j − a_i·p_i)})`. Sohn, *Improved Deep Metric Learning with Multi-class N-pair Loss Objective*, 2016, eq. 4.
//! The paper has s = 1, does not normalise and adds `l2 · mean ‖f‖²`; by default we do as pytorch-metric-learning, which
//! normalises. Normalised products lie within ±1, where s = 1 hardly tells near from far: s of 10 to 30 makes it InfoNCE.

use crate::params::{parse, positive, wrong};
use crate::row_loss::{Space, between};
use crate::softmax::CrossEntropy;
use crate::{Context, Error, Objective, Result};
use candle_core::Tensor;
use dml_core::Metric;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of the N-pair loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NPairsParams {
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
    /// Factor s on the products. Default 1.
    pub scale: f32,
    /// Weight of the mean squared norm of anchors and positives; the paper's code has 0.005. Default 0.
    pub l2: f64,
}

impl Default for NPairsParams {
    fn default() -> Self {
        Self { normalize: true, scale: 1.0, l2: 0.0 }
    }
}

struct NPairs(NPairsParams);

impl Objective for NPairs {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        if embeddings.dims2()?.0 != labels.len() {
            return Err(Error::Labels(format!(
                "{} labels for embeddings of shape {:?}: pass one label per row",
                labels.len(),
                embeddings.dims()
            )));
        }
        let (anchors, positives) = first_pairs(labels);
        if anchors.is_empty() {
            return crate::autograd::attach(0.0, (embeddings, vec![0.0; embeddings.elem_count()]), vec![]);
        }
        let classes: Vec<u32> = anchors.iter().map(|&i| labels[i as usize]).collect();
        let take = |rows: &[u32]| embeddings.index_select(&Tensor::new(rows, embeddings.device())?, 0);
        let (a, p) = (take(&anchors)?, take(&positives)?);
        let space = Space { metric: Metric::Dot, normalize: self.0.normalize };
        let loss = between((&a, &classes), (&p, &classes), space, &CrossEntropy { scale: self.0.scale })?;
        if self.0.l2 == 0.0 {
            return Ok(loss);
        }
        let norms = (a.sqr()?.sum_all()? + p.sqr()?.sum_all()?)?;
        Ok((loss + (norms * (self.0.l2 / (2 * anchors.len()) as f64))?)?)
    }
}

/// First and second row of every class that has two, in order of the first.
fn first_pairs(labels: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut firsts: std::collections::BTreeMap<u32, (u32, Option<u32>)> = Default::default();
    for (i, &label) in labels.iter().enumerate() {
        firsts.entry(label).and_modify(|(_, second)| *second = second.or(Some(i as u32))).or_insert((i as u32, None));
    }
    let mut pairs: Vec<(u32, u32)> = firsts.into_values().filter_map(|(a, p)| p.map(|p| (a, p))).collect();
    pairs.sort_unstable();
    pairs.into_iter().unzip()
}

pub(crate) fn build(params: &Value, _context: &Context) -> Result<Box<dyn Objective>> {
    let p: NPairsParams = parse("n_pairs", params)?;
    positive("n_pairs", "scale", p.scale)?;
    if !(p.l2 >= 0.0 && p.l2.is_finite()) {
        return Err(wrong("n_pairs", format!("l2 is {}: want 0 or more", p.l2)));
    }
    Ok(Box::new(NPairs(p)))
}
