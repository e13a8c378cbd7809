//! Pairwise cross-entropy in the Poincaré ball.
//!
//! Slot t of a class is its t-th row in the batch. For each ordered pair of slots a ≠ b, and every class i of those with
//! both: `−log softmax` of `−D/τ` at `x_i^b`, over all `x_j^b` and the other `x_j^a`; the mean over these classes, then over the pairs of
//! slots. D is the hyperbolic distance of points that were clipped to norm r and put into the ball of curvature −c by the
//! exponential map. Ermolov et al., *Hyperbolic Vision Transformers: Combining Improvements in Metric Learning*, 2022,
//! eq. 2–6; c = 0.1, r = 2.3, τ = 0.2 as there. The paper has P × K batches; in uneven ones a class is left out of the slots
//! that it has no row for.

use crate::autograd::nothing;
use crate::composed::{ComposedTerms, log_sum_exp, no_terms};
use crate::params::{LossParams, positive};
use crate::row_loss::{Fused, Sides, Space, composed, fused};
use crate::setting::Setting;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::Tensor;
use dml_core::relevance::Labels;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Projection, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of the hyperbolic loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyperbolicParams {
    /// Curvature c of the ball. Default 0.1.
    pub curvature: f64,
    /// Largest norm r of an embedding. Default 2.3.
    pub clip: f64,
    /// Temperature τ. Default 0.2.
    pub temperature: f64,
}

impl Default for HyperbolicParams {
    fn default() -> Self {
        Self { curvature: 0.1, clip: 2.3, temperature: 0.2 }
    }
}

/// The rows of a batch by slots, in each the larger classes first: classes that have two slots are then the first ones of
/// both.
struct Slots {
    /// Rows of the batch, slot by slot.
    order: Vec<u32>,
    /// Where each slot begins, and where the last ends.
    begins: Vec<usize>,
    temperature: f64,
}

impl Slots {
    fn new(labels: &[u64], temperature: f64) -> Self {
        let mut rows: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        labels.iter().enumerate().for_each(|(i, &label)| rows.entry(label).or_default().push(i as u32));
        let mut classes: Vec<Vec<u32>> = rows.into_values().collect();
        classes.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
        let (mut order, mut begins) = (Vec::with_capacity(labels.len()), vec![0]);
        for slot in 0..classes.first().map_or(0, Vec::len) {
            order.extend(classes.iter().map_while(|rows| rows.get(slot)));
            begins.push(order.len());
        }
        Self { order, begins, temperature }
    }

    fn count(&self) -> usize {
        self.begins.len() - 1
    }

    /// Number of classes with this slot.
    fn size(&self, slot: usize) -> usize {
        self.begins[slot + 1] - self.begins[slot]
    }

    /// What a term of a pair of slots with so many classes is multiplied by, so that the mean of all terms is the mean over
    /// the pairs of slots of their means: 1 in batches of P × K.
    fn weight(&self, classes: usize) -> f64 {
        let pairs = self.count() * (self.count() - 1);
        let terms: usize = (1..self.count()).map(|slot| 2 * slot * self.size(slot)).sum();
        terms as f64 / (pairs * classes) as f64
    }
}

impl<T: Real> RowObjective<T> for Slots {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let own = self.begins.partition_point(|&begin| begin <= row.anchor) - 1;
        let place = row.anchor - self.begins[own];
        let scale = T::of(-1.0 / self.temperature);
        let mut shares = Vec::with_capacity(2 * self.size(own));
        for other in (0..self.count()).filter(|&other| other != own) {
            let classes = self.size(own.max(other));
            if place >= classes {
                break;
            }
            let (a, b) = (self.begins[own], self.begins[other]);
            shares.clear();
            shares.extend_from_slice(&row.scores[b..b + classes]);
            shares.extend_from_slice(&row.scores[a..a + classes]);
            // Infinitely far: the anchor itself.
            shares[classes + place] = T::infinity();
            let target = row.scores[b + place].wide() / self.temperature;
            let value = vector::log_sum_exp(&mut shares, scale, T::zero()) + target;
            let weight = T::of(self.weight(classes));
            let step = scale * weight * terms.add(0, T::of(value) * weight);
            shares[place] -= T::one();
            let (of_b, of_a) = shares.split_at(classes);
            for (begin, shares) in [(b, of_b), (a, of_a)] {
                for (g, &share) in gradient[begin..].iter_mut().zip(shares) {
                    *g += step * share;
                }
            }
        }
    }
}

impl Slots {
    fn compose(&self, scores: &Tensor) -> Result<Vec<ComposedTerms>> {
        let logits = (scores * (-1.0 / self.temperature))?;
        let (mut values, mut anchors) = (Vec::new(), Vec::new());
        for (a, b) in (0..self.count()).flat_map(|a| (0..self.count()).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let classes = self.size(a.max(b));
            let block = |slot: usize| -> Result<Tensor> {
                Ok(logits.narrow(0, self.begins[a], classes)?.narrow(1, self.begins[slot], classes)?.contiguous()?)
            };
            let (across, within) = (block(b)?, block(a)?);
            let same = Tensor::eye(classes, scores.dtype(), scores.device())?;
            let counts = Tensor::cat(&[&same.ones_like()?, &(1.0 - &same)?], 1)?;
            let all = log_sum_exp(&counts, &Tensor::cat(&[&across, &within], 1)?)?;
            values.push(((all - (across * same)?.sum(1)?)? * self.weight(classes))?);
            anchors.extend((self.begins[a]..self.begins[a] + classes).map(|row| row as u32));
        }
        let values = Tensor::cat(&values, 0)?;
        let counts = values.ones_like()?;
        Ok(vec![ComposedTerms { values, counts, anchors: Some(anchors) }])
    }
}

struct Hyperbolic {
    temperature: f64,
    setting: Setting,
}

impl Objective for Hyperbolic {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(HyperbolicParams::NAME)?;
        batch.without_tuples(HyperbolicParams::NAME)?;
        let (embeddings, labels) = (batch.embeddings, batch.labels(HyperbolicParams::NAME)?);
        let (slots, setting) = (Slots::new(labels, self.temperature), &self.setting);
        if slots.count() < 2 && setting.reduction != Reduction::None {
            return Ok(nothing(&[embeddings])?.into());
        }
        let index = |rows: &[u32]| Ok::<_, crate::Error>(Tensor::new(rows, embeddings.device())?);
        let ordered = embeddings.index_select(&index(&slots.order)?, 0)?;
        let classes: Vec<u64> = slots.order.iter().map(|&i| labels[i as usize]).collect();
        let relevance = Labels::within(&classes);
        let (run, sides) = (setting.run(&relevance, &[]), Sides { anchors: &ordered, references: None });
        if setting.fused(sides) {
            let Fused { loss, statistics, .. } = fused(sides, &run, &slots)?;
            return Ok(Evaluation { loss, statistics });
        }
        let terms = |scores: &Tensor| if slots.count() < 2 { no_terms(scores) } else { slots.compose(scores) };
        let mut evaluation = composed(sides, &run, |scores, _| terms(scores))?;
        if setting.reduction == Reduction::None {
            // Back from slots to the order of the batch.
            let mut places = vec![0u32; slots.order.len()];
            slots.order.iter().enumerate().for_each(|(place, &row)| places[row as usize] = place as u32);
            evaluation.loss = evaluation.loss.index_select(&index(&places)?, 0)?;
        }
        Ok(evaluation)
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for HyperbolicParams {
    const NAME: &'static str = "hyperbolic";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "curvature", self.curvature)?;
        positive(Self::NAME, "clip", self.clip)?;
        positive(Self::NAME, "temperature", self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let Self { curvature, clip, temperature } = *self;
        let space = Space { metric: Metric::Hyperbolic(curvature), projection: Projection::Ball { curvature, clip } };
        Ok(Box::new(Hyperbolic { temperature, setting: Setting::new(space, Reduction::Mean, context) }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default())]
    }
}
