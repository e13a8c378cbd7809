//! Margin loss.
//!
//! Over all triplets `[gap(d_ap, β) + m]+ + [gap(β, d_an) + m]+`, the sum of both kinds of terms over the number of those
//! above 0; `gap(u, v)` is `u − v` for distances, `v − u` for similarities. Wu et al., *Sampling Matters in Deep Embedding
//! Learning*, 2017, eq. 5; m = 0.2, β = 1.2 as there and in pytorch-metric-learning.
//!
//! A term depends on a pair only, so no triplet is enumerated: a positive's counts as often as its anchor has negatives, a
//! negative's as often as it has positives; each once in a miner's triplets.
//!
//! β is fixed, learned, or learned for each class (of the anchor). Learned ones cost `ν β`, for each class per triplet and
//! divided as the terms are. Without any triplet the loss is 0, that cost too.

use crate::autograd::{attach, nothing};
use crate::composed::{ComposedTerms, Masks, hinge};
use crate::params::{LossParams, finite, metric, not_negative, wrong};
use crate::row_loss::{Sides, Space, composed, fused};
use crate::setting::Setting;
use crate::{Batch, Context, Error, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::relevance::{Relevance, Sets};
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarginParams {
    /// Margin m on either side of the boundary. Default 0.2.
    pub margin: f64,
    /// Boundary β between positives and negatives, where it begins if it is learned. Default 1.2.
    pub beta: f64,
    /// Whether β is learned. Default false.
    pub learn_beta: bool,
    /// Whether each class has its own β. Default false.
    pub per_class: bool,
    /// Weight ν of a learned β. Default 0.
    pub nu: f64,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for MarginParams {
    fn default() -> Self {
        let metric = "euclidean".to_owned();
        Self { margin: 0.2, beta: 1.2, learn_beta: false, per_class: false, nu: 0.0, metric, normalize: true }
    }
}

/// A row, given the boundary of each anchor.
struct MarginRow {
    margin: f64,
    /// +1 for distances, −1 for similarities.
    sign: f64,
    betas: Vec<f64>,
}

/// How often the terms of a positive and of a negative count.
fn times(positives: usize, negatives: usize, named: bool) -> (usize, usize) {
    if named { (1, 1) } else { (negatives, positives) }
}

/// Adds a term that counts `times` times; returns the weight of all of them together.
fn add_repeated<T: Real>(terms: &mut Terms<'_>, times: usize, value: T) -> T {
    if terms.wants_single_terms() {
        return (0..times).map(|_| terms.add(0, value)).sum();
    }
    if value <= T::zero() {
        terms.add_zeros(0, times);
        return T::zero();
    }
    terms.add_many::<T>(0, times, times as f64 * value.wide()) * T::of(times as f64)
}

impl<T: Real> RowObjective<T> for MarginRow {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let (p, q) = (row.positives.len(), row.count_negatives());
        if p == 0 || q == 0 {
            return;
        }
        let (of_positive, of_negative) = times(p, q, row.triplets.is_some());
        let (sign, margin, beta) = (T::of(self.sign), T::of(self.margin), T::of(self.betas[row.anchor]));
        let mut slope = T::zero();
        // Nearer than this a negative has a term.
        let reach = sign * beta + margin;
        if terms.wants_single_terms() {
            for j in row.negatives() {
                let weight = add_repeated(terms, of_negative, vector::hinge(reach - sign * row.scores[j]).0);
                gradient[j] -= sign * weight;
                slope += sign * weight;
            }
        } else {
            let (mut sum, mut active) = (0f64, 0f64);
            for range in row.negative_ranges() {
                let term = |score| vector::hinge(reach - sign * score);
                let swept = vector::sweep(&row.scores[range.clone()], &mut gradient[range], term);
                (sum, active) = (sum + swept.0, active + swept.1);
            }
            let times = of_negative as f64;
            let weight = terms.add_many::<T>(0, active as usize * of_negative, sum * times) * T::of(times);
            terms.add_zeros(0, (q - active as usize) * of_negative);
            vector::scale(gradient, -sign * weight);
            slope += sign * weight * T::of(active);
        }
        for j in row.positives() {
            let weight = add_repeated(terms, of_positive, vector::hinge(sign * (row.scores[j] - beta) + margin).0);
            gradient[j] += sign * weight;
            slope -= sign * weight;
        }
        terms.add_slope(slope);
    }
}

struct Margin {
    params: MarginParams,
    setting: Setting,
    sign: f64,
    /// `[1]` or `[C]`, if learned.
    beta: Option<Var>,
    classes: usize,
}

impl Margin {
    /// Which β each anchor has.
    fn places(&self, batch: &Batch<'_>, n: usize) -> Result<Vec<u32>> {
        if !self.params.per_class {
            return Ok(vec![0; n]);
        }
        let labels = batch.labels(MarginParams::NAME)?;
        match labels.iter().find(|&&label| label >= self.classes as u64) {
            None => Ok(labels.iter().map(|&label| label as u32).collect()),
            Some(label) => {
                let classes = self.classes;
                Err(Error::Labels(format!("label {label} has no beta, there are {classes}: map labels to 0..classes")))
            }
        }
    }

    /// What learned boundaries cost, from the number of terms that counted; `None`: nothing.
    fn cost(&self, relevance: &dyn Relevance, places: &[u32], terms: f64) -> Result<Option<Tensor>> {
        let (Some(beta), nu) = (&self.beta, self.params.nu) else { return Ok(None) };
        if nu == 0.0 {
            return Ok(None);
        }
        let (mut sets, mut triplets) = (Sets::default(), vec![0f64; beta.elem_count()]);
        for (i, &place) in places.iter().enumerate() {
            sets.clear();
            relevance.row(i, &mut sets);
            let others = || relevance.references() - sets.positives.len() - sets.ignored.len();
            let negatives = sets.negatives.as_ref().map_or_else(others, Vec::len);
            let all = sets.positives.len() * negatives;
            triplets[place as usize] += sets.triplets.as_ref().map_or(all, Vec::len) as f64;
        }
        if triplets.iter().all(|&count| count == 0.0) {
            return Ok(None);
        }
        let divisor = match self.setting.reduction {
            Reduction::Sum => 1.0,
            Reduction::Divisor(by) => by,
            _ if terms == 0.0 => f64::INFINITY,
            _ => terms,
        };
        let share = |count: f64| if self.params.per_class { nu * count / divisor } else { nu };
        let weights: Vec<f64> = triplets.into_iter().map(share).collect();
        let weights = Tensor::new(weights, beta.device())?.to_dtype(beta.dtype())?;
        Ok(Some((beta.as_tensor() * weights)?.sum_all()?))
    }

    fn compose(&self, scores: &Tensor, masks: &Masks, places: &[u32]) -> Result<Vec<ComposedTerms>> {
        let (n, sign) = (scores.dim(0)?, self.sign);
        let beta = match &self.beta {
            Some(beta) => {
                beta.as_tensor().to_dtype(scores.dtype())?.index_select(&Tensor::new(places, beta.device())?, 0)?
            }
            None => Tensor::full(self.params.beta, n, scores.device())?.to_dtype(scores.dtype())?,
        };
        let beyond = (scores.broadcast_sub(&beta.unsqueeze(1)?)? * sign)?;
        let values = [hinge(&(&beyond + self.params.margin)?)?, hinge(&(self.params.margin - &beyond)?)?];
        let named = masks.rows.iter().any(|row| row.triplets.is_some());
        let counts = if named {
            [masks.positive.clone(), masks.negative.clone()]
        } else {
            [
                masks.positive.broadcast_mul(&masks.negative.sum_keepdim(1)?)?,
                masks.negative.broadcast_mul(&masks.positive.sum_keepdim(1)?)?,
            ]
        };
        Ok(vec![ComposedTerms::new(Tensor::cat(&values, 1)?, Tensor::cat(&counts, 1)?)])
    }
}

impl Objective for Margin {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (relevance, sides) = (batch.named(true)?, Sides::of(batch));
        let relevance = relevance.as_ref();
        let places = self.places(batch, relevance.anchors())?;
        let run = self.setting.run(relevance, &[]);
        let mut evaluation = if self.setting.fused(sides) {
            let all: Vec<f64> = match &self.beta {
                Some(beta) => beta.to_dtype(candle_core::DType::F64)?.to_vec1()?,
                None => vec![self.params.beta; if self.params.per_class { self.classes } else { 1 }],
            };
            let betas = places.iter().map(|&place| all[place as usize]).collect();
            let row = MarginRow { margin: self.params.margin, sign: self.sign, betas };
            let output = fused(sides, &run, &row)?;
            let mut loss = output.loss;
            if let Some(beta) = &self.beta {
                let mut slopes = vec![0f64; all.len()];
                places.iter().zip(&output.slopes).for_each(|(&place, slope)| slopes[place as usize] += slope);
                let at_beta = attach(0.0, vec![(beta.as_tensor(), slopes)])?;
                loss = (&loss + at_beta.to_dtype(loss.dtype())?)?;
            }
            Evaluation { loss, statistics: output.statistics }
        } else {
            let mut evaluation = composed(sides, &run, |scores, masks| self.compose(scores, masks, &places))?;
            if let Some(beta) = &self.beta {
                // In the graph even of a batch of no rows.
                let nothing = nothing(&[beta.as_tensor()])?.to_dtype(evaluation.loss.dtype())?;
                evaluation.loss = evaluation.loss.broadcast_add(&nothing)?;
            }
            evaluation
        };
        if let Some(cost) = self.cost(relevance, &places, evaluation.statistics.terms[0])? {
            let cost = cost.to_dtype(evaluation.loss.dtype())?;
            evaluation.loss = evaluation.loss.broadcast_add(&cost)?;
        }
        Ok(evaluation)
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn learns_classes(&self) -> bool {
        self.params.per_class
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.beta.iter().map(|beta| ("beta".to_owned(), beta.clone())).collect()
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for MarginParams {
    const NAME: &'static str = "margin";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "margin", self.margin)?;
        finite(Self::NAME, "beta", self.beta)?;
        not_negative(Self::NAME, "nu", self.nu)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        if self.per_class && context.classes == 0 {
            return Err(wrong(Self::NAME, "per_class wants the number of classes: there are 0".to_owned()));
        }
        let count = if self.per_class { context.classes } else { 1 };
        let beta = || -> Result<Var> {
            let start = Tensor::full(self.beta, count, &context.device)?.to_dtype(context.dtype)?;
            Ok(Var::from_tensor(&start)?)
        };
        Ok(Box::new(Margin {
            params: self.clone(),
            setting: Setting::new(Space::new(metric, self.normalize), Reduction::MeanNonZero, context),
            sign: metric.sign(),
            beta: self.learn_beta.then(beta).transpose()?,
            classes: context.classes,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        vec![("paper", Self { learn_beta: true, per_class: true, ..pml.clone() }), ("pml", pml)]
    }
}
