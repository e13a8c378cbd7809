//! Contrastive loss.
//!
//! `mean over non-zero of [d_p − m_pos]+  +  mean over non-zero of [m_neg − d_n]+`, over all ordered pairs of the batch;
//! for cosine `[m_pos − s_p]+` and `[s_n − m_neg]+`. Hadsell et al., *Dimensionality Reduction by Learning an Invariant
//! Mapping*, 2006, in the linear form of pytorch-metric-learning (the paper squares both terms).

use crate::params::{parse, wrong};
use crate::row_loss::{PairObjective, RowLoss, Space};
use crate::{Context, Result};
use dml_core::Metric;
use dml_core::rowwise::{Row, RowObjective};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of the contrastive loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveParams {
    /// `euclidean` (default) or `cosine`.
    pub metric: String,
    /// Positives nearer than this are left alone. Default 0 (1 for cosine is usual).
    pub pos_margin: f32,
    /// Negatives further than this are left alone. Default 1 (0 to 0.5 for cosine).
    pub neg_margin: f32,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for ContrastiveParams {
    fn default() -> Self {
        Self { metric: "euclidean".to_owned(), pos_margin: 0.0, neg_margin: 1.0, normalize: true }
    }
}

struct Contrastive {
    pos_margin: f32,
    neg_margin: f32,
    /// +1 for distances, −1 for similarities.
    sign: f32,
}

impl Contrastive {
    fn positive(&self, score: f32) -> f32 {
        (self.sign * (score - self.pos_margin)).max(0.0)
    }

    fn negative(&self, score: f32) -> f32 {
        (self.sign * (self.neg_margin - score)).max(0.0)
    }
}

impl RowObjective for Contrastive {
    fn count(&self, row: &Row<'_>) -> [f64; 2] {
        let positives = row.positives().filter(|&j| self.positive(row.scores[j]) > 0.0).count();
        let negatives = row.negatives().filter(|&j| self.negative(row.scores[j]) > 0.0).count();
        [positives as f64, negatives as f64]
    }

    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let (mut positive, mut negative) = (0f64, 0f64);
        for j in row.positives() {
            let term = self.positive(row.scores[j]);
            if term > 0.0 {
                positive += f64::from(term);
                gradient[j] += self.sign * weight[0];
            }
        }
        for j in row.negatives() {
            let term = self.negative(row.scores[j]);
            if term > 0.0 {
                negative += f64::from(term);
                gradient[j] -= self.sign * weight[1];
            }
        }
        f64::from(weight[0]) * positive + f64::from(weight[1]) * negative
    }
}

pub(crate) fn build(params: &Value, _context: &Context) -> Result<Box<dyn PairObjective>> {
    let p: ContrastiveParams = parse("contrastive", params)?;
    let metric: Metric = p.metric.parse()?;
    if !p.pos_margin.is_finite() || !p.neg_margin.is_finite() {
        return Err(wrong("contrastive", "pos_margin and neg_margin must be finite".to_owned()));
    }
    let sign = if metric.is_similarity() { -1.0 } else { 1.0 };
    let row = Contrastive { pos_margin: p.pos_margin, neg_margin: p.neg_margin, sign };
    Ok(Box::new(RowLoss { row, space: Space { metric, normalize: p.normalize } }))
}
