//! N-pair loss.
//!
//! One pair (anchor, positive) per class of the batch, its first two samples: `mean_i −log softmax_j(s·a_i·p_j)_i`, which is
//! `log(1 + Σ_{j≠i} e^{s(a_i·p_j − a_i·p_i)})`. Sohn, *Improved Deep Metric Learning with Multi-class N-pair Loss Objective*, 2016, eq. 4.
//! The paper has s = 1, does not normalise and adds `l2 · mean ‖f‖²`; by default we do as pytorch-metric-learning, which
//! normalises. Normalised products lie within ±1, where s = 1 hardly tells near from far: s of 10 to 30 makes it InfoNCE.
//! Of mined tuples the first (anchor, positive) of each class is taken.

use crate::autograd::nothing;
use crate::params::{LossParams, not_negative, positive};
use crate::row_loss::{Sides, Space};
use crate::setting::Setting;
use crate::softmax::CrossEntropy;
use crate::{Batch, Context, Evaluation, Objective, Result, Tuples};
use dml_core::relevance::Labels;
use dml_core::{Metric, Reduction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of the N-pair loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NPairsParams {
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
    /// Factor s on the products. Default 1.
    pub scale: f64,
    /// Weight of the mean squared norm of anchors and positives; the paper's code has 0.005. Default 0.
    pub l2: f64,
}

impl Default for NPairsParams {
    fn default() -> Self {
        Self { normalize: true, scale: 1.0, l2: 0.0 }
    }
}

struct NPairs {
    params: NPairsParams,
    setting: Setting,
}

impl Objective for NPairs {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(NPairsParams::NAME)?;
        let (embeddings, labels) = (batch.embeddings, batch.labels(NPairsParams::NAME)?);
        let (anchors, positives) = match batch.tuples {
            None => first_pairs(labels),
            Some(tuples) => first_mined_pairs(labels, tuples),
        };
        if anchors.is_empty() {
            return Ok(nothing(&[embeddings])?.into());
        }
        let classes: Vec<u64> = anchors.iter().map(|&i| labels[i as usize]).collect();
        let take = |rows: Vec<u32>| embeddings.index_select(&candle_core::Tensor::new(rows, embeddings.device())?, 0);
        let (a, p) = (take(anchors)?, take(positives)?);
        let relevance = Labels::new(&classes, &classes, None);
        let (sides, row) = (Sides { anchors: &a, references: Some(&p) }, CrossEntropy { scale: self.params.scale });
        let mut evaluation = self.setting.evaluate(sides, &relevance, &[], &row)?;
        if self.params.l2 != 0.0 {
            let norms = (a.sqr()?.sum_all()? + p.sqr()?.sum_all()?)?;
            let mean = (norms * (self.params.l2 / (2 * classes.len()) as f64))?.to_dtype(evaluation.loss.dtype())?;
            evaluation.loss = evaluation.loss.broadcast_add(&mean)?;
        }
        Ok(evaluation)
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

/// First and second row of every class that has two, in order of the first.
pub(crate) fn first_pairs(labels: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let mut firsts: BTreeMap<u64, (u32, Option<u32>)> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        firsts.entry(label).and_modify(|(_, second)| *second = second.or(Some(i as u32))).or_insert((i as u32, None));
    }
    let mut pairs: Vec<(u32, u32)> = firsts.into_values().filter_map(|(a, p)| p.map(|p| (a, p))).collect();
    pairs.sort_unstable();
    pairs.into_iter().unzip()
}

/// The first positive pair of every class.
fn first_mined_pairs(labels: &[u64], tuples: &Tuples) -> (Vec<u32>, Vec<u32>) {
    let all: Vec<(u32, u32)> = match tuples {
        Tuples::Pairs { positives, .. } => positives.clone(),
        Tuples::Triplets(triplets) => triplets.iter().map(|&[a, p, _]| (a, p)).collect(),
    };
    let mut firsts: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    for pair in all {
        firsts.entry(labels[pair.0 as usize]).or_insert(pair);
    }
    firsts.into_values().unzip()
}

impl LossParams for NPairsParams {
    const NAME: &'static str = "n_pairs";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        not_negative(Self::NAME, "l2", self.l2)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let setting = Setting::new(Space::new(Metric::Dot, self.normalize), Reduction::Mean, context);
        Ok(Box::new(NPairs { params: self.clone(), setting }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { normalize: false, scale: 1.0, l2: 0.005 }), ("pml", Self::default())]
    }
}
