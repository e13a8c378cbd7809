//! Mega-batch margin loss.
//!
//! Of the first two rows `a_i, b_i` of every class that has two, with `s_ij = cos(a_i, b_j)`:
//! `mean_i [m₊ − s_ii]+ + mean_i [max_{j≠i} s_ij − m₋]+`, or with `hard = false` the second mean over all `j ≠ i`. Wieting and
//! Gimpel, *ParaNMT-50M*, 2018, eq. 3, with the absolute margins of sentence-transformers (m₊ = 0.8, m₋ = 0.3) in place of
//! a difference. A batch of one class has the first part only.

use super::n_pairs::first_pairs;
use super::triplet::pick;
use crate::autograd::nothing;
use crate::composed::{ComposedTerms, Masks, any, fill, hinge};
use crate::params::{LossParams, finite};
use crate::row_loss::{RowForm, Sides, Space};
use crate::setting::Setting;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::Tensor;
use dml_core::relevance::Labels;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the mega-batch margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MegaBatchMarginParams {
    /// Cosine m₊ above which a positive is left alone. Default 0.8.
    pub positive_margin: f64,
    /// Cosine m₋ below which a negative is left alone. Default 0.3.
    pub negative_margin: f64,
    /// Only the nearest negative of each anchor. Default true.
    pub hard: bool,
}

impl Default for MegaBatchMarginParams {
    fn default() -> Self {
        Self { positive_margin: 0.8, negative_margin: 0.3, hard: true }
    }
}

impl<T: Real> RowObjective<T> for MegaBatchMarginParams {
    fn groups(&self) -> usize {
        2
    }

    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let (positive_margin, negative_margin) = (T::of(self.positive_margin), T::of(self.negative_margin));
        for j in row.positives() {
            let (value, slope) = vector::hinge(positive_margin - row.scores[j]);
            gradient[j] -= slope * terms.add(0, value);
        }
        let mut push = |j: usize| {
            let (value, slope) = vector::hinge(row.scores[j] - negative_margin);
            gradient[j] += slope * terms.add(1, value);
        };
        if self.hard {
            // What is not a number is nearest of all. Seldom looked for: it shows in the sum.
            let lost = || row.negatives().find(|&j| row.scores[j].is_nan());
            let lost = if vector::sum(row.scores).is_nan() { lost() } else { None };
            lost.or_else(|| row.nearest_negative(Metric::Cosine.sign())).into_iter().for_each(push);
        } else {
            row.negatives().for_each(&mut push);
        }
    }
}

impl RowForm for MegaBatchMarginParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let pull = hinge(&(self.positive_margin - scores)?)?;
        let push = if self.hard {
            let hardest = fill(&masks.negative, &scores.detach(), f64::from(f32::MIN))?.argmax(1)?.to_vec1::<u32>()?;
            let rows: Vec<u32> = (0..hardest.len() as u32).collect();
            let nearest = hinge(&(pick(scores, &rows, &hardest)? - self.negative_margin)?)?;
            ComposedTerms::new(nearest, any(&masks.negative)?)
        } else {
            ComposedTerms::new(hinge(&(scores - self.negative_margin)?)?, masks.negative.clone())
        };
        Ok(vec![ComposedTerms::new(pull, masks.positive.clone()), push])
    }
}

struct MegaBatchMargin {
    row: MegaBatchMarginParams,
    setting: Setting,
}

impl Objective for MegaBatchMargin {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(MegaBatchMarginParams::NAME)?;
        batch.without_tuples(MegaBatchMarginParams::NAME)?;
        let (embeddings, labels) = (batch.embeddings, batch.labels(MegaBatchMarginParams::NAME)?);
        let (anchors, positives) = first_pairs(labels);
        if anchors.is_empty() {
            return Ok(nothing(&[embeddings])?.into());
        }
        let classes: Vec<u64> = anchors.iter().map(|&i| labels[i as usize]).collect();
        let take = |rows: Vec<u32>| embeddings.index_select(&Tensor::new(rows, embeddings.device())?, 0);
        let (a, b) = (take(anchors)?, take(positives)?);
        let relevance = Labels::new(&classes, &classes, None);
        let sides = Sides { anchors: &a, references: Some(&b) };
        self.setting.evaluate(sides, &relevance, &[], &self.row)
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for MegaBatchMarginParams {
    const NAME: &'static str = "mega_batch_margin";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "positive_margin", self.positive_margin)?;
        finite(Self::NAME, "negative_margin", self.negative_margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let setting = Setting::new(Space::new(Metric::Cosine, true), Reduction::Mean, context);
        Ok(Box::new(MegaBatchMargin { row: self.clone(), setting }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("sentence_transformers", Self::default())]
    }
}
