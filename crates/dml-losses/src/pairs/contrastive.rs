//! Contrastive loss.
//!
//! `mean over non-zero of [d_p − m_pos]+  +  mean over non-zero of [m_neg − d_n]+`, over all ordered pairs of the batch;
//! for similarities `[m_pos − s_p]+` and `[s_n − m_neg]+`. With `power = 2` each term is ½ of its square, as in Hadsell et
//! al., *Dimensionality Reduction by Learning an Invariant Mapping*, 2006, eq. 4; the default is the linear form of
//! pytorch-metric-learning.

use crate::composed::{ComposedTerms, Masks, hinge};
use crate::params::{LossParams, finite, metric, within};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the contrastive loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveParams {
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Positives nearer than this are left alone. Default 0 (1 for cosine is usual).
    pub pos_margin: f64,
    /// Negatives further than this are left alone. Default 1 (0 to 0.5 for cosine).
    pub neg_margin: f64,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
    /// 1: terms as they are; 2: half of their squares. Default 1.
    pub power: u8,
}

impl Default for ContrastiveParams {
    fn default() -> Self {
        Self { metric: "euclidean".to_owned(), pos_margin: 0.0, neg_margin: 1.0, normalize: true, power: 1 }
    }
}

pub(crate) struct Contrastive {
    pub(crate) pos_margin: f64,
    pub(crate) neg_margin: f64,
    /// +1 for distances, −1 for similarities.
    pub(crate) sign: f64,
    pub(crate) squared: bool,
}

impl Contrastive {
    /// A term of the given violation, and its derivative.
    #[inline(always)]
    fn term<T: Real>(&self, violation: T) -> (T, T) {
        let (hinge, slope) = vector::hinge(violation);
        if self.squared { (T::of(0.5) * hinge * hinge, hinge) } else { (hinge, slope) }
    }
}

impl<T: Real> RowObjective<T> for Contrastive {
    fn groups(&self) -> usize {
        2
    }

    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let (sign, pos_margin, neg_margin) = (T::of(self.sign), T::of(self.pos_margin), T::of(self.neg_margin));
        let violation = |score: T| sign * (neg_margin - score);
        if terms.wants_single_terms() {
            for j in row.negatives() {
                let (value, slope) = self.term(violation(row.scores[j]));
                gradient[j] -= sign * slope * terms.add(1, value);
            }
        } else {
            let (mut sum, mut active) = (0.0, 0.0);
            for range in row.negative_ranges() {
                let term = |score| self.term(violation(score));
                let swept = vector::sweep(&row.scores[range.clone()], &mut gradient[range], term);
                (sum, active) = (sum + swept.0, active + swept.1);
            }
            let active = active as usize;
            let weight = terms.add_many::<T>(1, active, sum);
            terms.add_zeros(1, row.count_negatives() - active);
            vector::scale(gradient, -sign * weight);
        }
        for j in row.positives() {
            let (value, slope) = self.term(sign * (row.scores[j] - pos_margin));
            gradient[j] += sign * slope * terms.add(0, value);
        }
    }
}

impl RowForm for Contrastive {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let term = |violation: Tensor| -> Result<Tensor> {
            let hinge = hinge(&violation)?;
            Ok(if self.squared { (hinge.sqr()? * 0.5)? } else { hinge })
        };
        let pull = term(((scores - self.pos_margin)? * self.sign)?)?;
        let push = term(((scores - self.neg_margin)? * -self.sign)?)?;
        Ok(vec![ComposedTerms::new(pull, masks.positive.clone()), ComposedTerms::new(push, masks.negative.clone())])
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl LossParams for ContrastiveParams {
    const NAME: &'static str = "contrastive";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "pos_margin", self.pos_margin)?;
        finite(Self::NAME, "neg_margin", self.neg_margin)?;
        within(Self::NAME, "power", self.power, 1, 2)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let row = Contrastive {
            pos_margin: self.pos_margin,
            neg_margin: self.neg_margin,
            sign: metric.sign(),
            squared: self.power == 2,
        };
        Ok(Box::new(RowLoss::new(row, Space::new(metric, self.normalize), Reduction::MeanNonZero, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        let xbm = Self { metric: "cosine".to_owned(), pos_margin: 1.0, neg_margin: 0.5, ..pml.clone() };
        vec![("paper", Self { power: 2, normalize: false, ..pml.clone() }), ("pml", pml), ("xbm", xbm)]
    }
}
