//! Ranked list loss.
//!
//! With `d` the distance of unit vectors, `P = {same class, d > α − m}` and `N = {other class, d < α}`, of each row:
//! `L_P = Σ_P w (d − (α − m)) / (Σ_P w + ε)` with `w = e^{tp(d − (α − m))}`, `L_N = Σ_N w (α − d) / (Σ_N w + ε)` with `w = e^{tn(α − d)}`, and
//! `mean_i (1 − λ)L_P + λL_N` over all rows. Wang et al., *Ranked List Loss for Deep Metric Learning*, 2019, eq. 4–9. As in
//! pytorch-metric-learning the gradient goes through the weights, and ε is 1e-5 for each column, so that empty lists give
//! 0; that library leaves out negatives at distance 0, and has no default for m and tn. Mined tuples narrow both lists.

use crate::composed::{ComposedTerms, Masks, fill};
use crate::params::{LossParams, finite, not_negative, within};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::{D, Tensor};
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the ranked list loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankedListParams {
    /// Margin m between the classes. Default 0.4.
    pub margin: f64,
    /// Temperature of the weights of negatives. Default 10.
    pub tn: f64,
    /// Share λ of the negatives. Default 0.5.
    pub imbalance: f64,
    /// Distance α that negatives must keep; absent (default): 1 + m/2.
    pub alpha: Option<f64>,
    /// Temperature of the weights of positives. Default 0.
    pub tp: f64,
}

impl Default for RankedListParams {
    fn default() -> Self {
        Self { margin: 0.4, tn: 10.0, imbalance: 0.5, alpha: None, tp: 0.0 }
    }
}

/// ε for each column.
const GUARD: f64 = 1e-5;

/// The weighted mean of those violations that are above 0.
struct Side<T> {
    value: f64,
    /// Denominator: sum of the weights, and the guard.
    total: f64,
    /// Over the largest one, so that they cannot overflow.
    weights: Vec<T>,
}

impl RankedListParams {
    fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(1.0 + self.margin / 2.0)
    }
}

/// Whether a violation is in the list; what is not a number is, so that it shows.
#[inline(always)]
fn listed<T: Real>(violation: T) -> bool {
    violation > T::zero() || violation.is_nan()
}

impl<T: Real> Side<T> {
    /// Of violations among `columns` columns; they become their products with their weights.
    fn new(violations: &mut [T], temperature: f64, columns: usize) -> Self {
        let top = vector::largest(violations);
        let top = if top > T::zero() { top } else { T::zero() };
        let by = T::of(temperature);
        let mut weights = vec![T::zero(); violations.len()];
        for (w, v) in weights.iter_mut().zip(violations.iter_mut()) {
            let weight = (by * (*v - top)).fast_exp();
            let product = weight * *v;
            (*w, *v) = if listed(*v) { (weight, product) } else { (T::zero(), T::zero()) };
        }
        let total = vector::sum(&weights) + columns as f64 * GUARD * (-temperature * top.wide()).exp();
        Self { value: vector::sum(violations) / total, total, weights }
    }

    /// From products with weights to derivatives by the violations, times `factor`.
    fn slopes(&self, products: &mut [T], temperature: f64, factor: T) {
        let factor = factor * T::of(1.0 / self.total);
        let (by, rest) = (factor * T::of(temperature), factor * T::of(1.0 - temperature * self.value));
        for (product, &weight) in products.iter_mut().zip(&self.weights) {
            *product = rest * weight + by * *product;
        }
    }
}

impl<T: Real> RowObjective<T> for RankedListParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let (alpha, m) = (self.alpha(), row.scores.len());
        let (outer, inner) = (T::of(alpha), T::of(alpha - self.margin));
        row.only_negatives(T::infinity(), gradient);
        gradient.iter_mut().for_each(|g| *g = outer - *g);
        let mut too_far: Vec<T> = row.positives().map(|j| row.scores[j] - inner).collect();
        let (pull, push) = (Side::new(&mut too_far, self.tp, m), Side::new(gradient, self.tn, m));
        let value = (1.0 - self.imbalance) * pull.value + self.imbalance * push.value;
        let weight: T = terms.add(0, T::of(value));
        push.slopes(gradient, self.tn, -weight * T::of(self.imbalance));
        pull.slopes(&mut too_far, self.tp, weight * T::of(1.0 - self.imbalance));
        row.positives().zip(too_far).for_each(|(j, g)| gradient[j] = g);
    }
}

impl RowForm for RankedListParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let columns = scores.dim(1)? as f64;
        let side = |violation: Tensor, mask: &Tensor, temperature: f64| -> Result<Tensor> {
            // Not `> 0`, which would leave out what is not a number.
            let outside = (violation.le(0.0)?.to_dtype(mask.dtype())? + mask.eq(0.0)?.to_dtype(mask.dtype())?)?;
            let mask = outside.eq(0.0)?.to_dtype(mask.dtype())?;
            let violation = fill(&mask, &violation, 0.0)?;
            let top = violation.detach().max_keepdim(D::Minus1)?;
            let weight = ((violation.broadcast_sub(&top)? * temperature)?.exp()? * mask)?;
            let guard = ((top.squeeze(1)? * -temperature)?.exp()? * (columns * GUARD))?;
            Ok(((&weight * violation)?.sum(1)? / (weight.sum(1)? + guard)?)?)
        };
        let alpha = self.alpha();
        let pull = side((scores - (alpha - self.margin))?, &masks.positive, self.tp)?;
        let push = side((alpha - scores)?, &masks.negative, self.tn)?;
        let value = ((pull * (1.0 - self.imbalance))? + (push * self.imbalance)?)?;
        let all = value.ones_like()?;
        Ok(vec![ComposedTerms::new(value, all)])
    }
}

impl LossParams for RankedListParams {
    const NAME: &'static str = "ranked_list";

    fn check(&self) -> Result<()> {
        finite(Self::NAME, "margin", self.margin)?;
        finite(Self::NAME, "alpha", self.alpha())?;
        within(Self::NAME, "imbalance", self.imbalance, 0.0, 1.0)?;
        not_negative(Self::NAME, "tn", self.tn)?;
        not_negative(Self::NAME, "tp", self.tp)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Euclidean, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { alpha: Some(1.2), ..Self::default() })]
    }
}
