//! Tuplet margin loss.
//!
//! `log(1 + Σ_N e^{s·(cos θ_n − cos(θ_p − β))})` of each positive pair, θ the angles between embeddings; mean over all
//! positive pairs. Yu & Tao, *Deep Metric Learning with Tuplet Margin Loss*, 2019, eq. 5. β = 5.73° (0.1 rad) and s = 64, as
//! there and in pytorch-metric-learning. `cos(θ − β)` is taken as `cos θ cos β + sin θ sin β`; its slope by the cosine is
//! infinite at the ends, where the second part is taken as constant (pytorch-metric-learning gives NaN).

use crate::composed::{ComposedTerms, Masks, any, fill, log_sum_exp, softplus};
use crate::params::{LossParams, positive, within};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::softmax::{self, negative_shares};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the tuplet margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TupletMarginParams {
    /// Angle β in degrees by which a positive has to be nearer. Default 5.73.
    pub margin: f64,
    /// Factor s on the cosines. Default 64.
    pub scale: f64,
}

impl Default for TupletMarginParams {
    fn default() -> Self {
        Self { margin: 5.73, scale: 64.0 }
    }
}

impl TupletMarginParams {
    /// `cos(θ − β)` and its slope by `cos θ`.
    fn slack(&self, cosine: f64) -> (f64, f64) {
        let (sin, cos) = self.margin.to_radians().sin_cos();
        let square = (1.0 - cosine) * (1.0 + cosine);
        if square > 0.0 {
            let root = square.sqrt();
            return (cosine * cos + root * sin, cos - sin * cosine / root);
        }
        (cosine * cos, cos)
    }
}

impl<T: Real> RowObjective<T> for TupletMarginParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let negatives = negative_shares(row, T::of(self.scale), gradient);
        let mut push = 0.0;
        let pulls: Vec<T> = (row.positives().map(|p| {
            let (target, by_cosine) = self.slack(row.scores[p].wide());
            let (value, slope) = softmax::softplus(negatives - self.scale * target);
            let step = terms.add(0, value) * slope * self.scale;
            push += step;
            T::of(step * by_cosine)
        }))
        .collect();
        vector::scale(gradient, T::of(push));
        row.positives().zip(pulls).for_each(|(p, pull)| gradient[p] -= pull);
    }
}

impl RowForm for TupletMarginParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (sin, cos) = self.margin.to_radians().sin_cos();
        let square = (scores.sqr()?.neg()? + 1.0)?;
        // The root of a constant where there is none: no infinite slope.
        let inside = square.gt(0.0)?.to_dtype(square.dtype())?;
        let root = (fill(&inside, &square, 1.0)?.sqrt()? * inside)?;
        let target = ((scores * cos)? + (root * sin)?)?;
        let negatives = log_sum_exp(&masks.negative, &(scores * self.scale)?)?.unsqueeze(1)?;
        let against = softplus(&negatives.broadcast_sub(&(target * self.scale)?)?)?;
        let some = any(&masks.negative)?.unsqueeze(1)?.broadcast_as(against.shape())?;
        Ok(vec![ComposedTerms::new(fill(&some, &against, 0.0)?, masks.positive.clone())])
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl LossParams for TupletMarginParams {
    const NAME: &'static str = "tuplet_margin";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "margin", self.margin, 0.0, 180.0)?;
        positive(Self::NAME, "scale", self.scale)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::Cosine, true);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self::default()), ("pml", Self::default())]
    }
}

#[cfg(test)]
mod tests {
    use super::TupletMarginParams;

    #[test]
    fn slack_is_the_cosine_of_a_smaller_angle() {
        let params = TupletMarginParams { margin: 20.0, scale: 1.0 };
        let (value, slope) = params.slack(50f64.to_radians().cos());
        assert!((value - 30f64.to_radians().cos()).abs() < 1e-12);
        assert!((slope - 30f64.to_radians().sin() / 50f64.to_radians().sin()).abs() < 1e-12);
        assert!(
            params.slack(1.0).1.is_finite() && params.slack(-1.0).1.is_finite() && params.slack(f64::NAN).0.is_nan()
        );
    }
}
