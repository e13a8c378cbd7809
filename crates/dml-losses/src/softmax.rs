//! Softmax over a row, the middle of all losses like it: shares of positives and negatives, and the cross-entropy.
//!
//! A loss `−log(share)` is taken as `log(1 + e^x)`, where x is the logarithm of what stands against the target over the
//! target: it keeps its digits, and its sign, where it is all but 0.

use crate::Result;
use crate::composed::{self, ComposedTerms, Masks, any, fill, log_sum_exp};
use crate::row_loss::RowForm;
use candle_core::Tensor;
use dml_core::relevance::{Relevance, Sets};
use dml_core::rowwise::RowObjective;
pub(crate) use dml_core::vector::softplus;
use dml_core::{Real, Row, Terms, vector};

/// What no exponential of `scale·x` sees.
#[inline(always)]
pub(crate) fn unseen<T: Real>(scale: T) -> T {
    if scale < T::zero() { T::infinity() } else { T::neg_infinity() }
}

/// `log Σ_N e^{scale·s}` over the row's negatives; their shares of the sum go into `gradient`, 0 elsewhere. A negative
/// that is listed twice counts twice. −∞ of none.
#[inline(always)]
pub(crate) fn negative_shares<T: Real>(row: &Row<'_, T>, scale: T, gradient: &mut [T]) -> f64 {
    let Some(listed) = row.listed_negatives() else {
        row.only_negatives(unseen(scale), gradient);
        return vector::log_sum_exp(gradient, scale, T::zero());
    };
    let mut shares: Vec<T> = listed.iter().map(|&j| row.scores[j as usize]).collect();
    let total = vector::log_sum_exp(&mut shares, scale, T::zero());
    listed.iter().zip(shares).for_each(|(&j, share)| gradient[j as usize] += share);
    total
}

/// `log Σ_P e^{scale·s}` over the row's positives, and their shares of the sum. −∞ of none.
#[inline(always)]
pub(crate) fn positive_shares<T: Real>(row: &Row<'_, T>, scale: T) -> (f64, Vec<T>) {
    let mut shares: Vec<T> = row.positives().map(|j| row.scores[j]).collect();
    (vector::log_sum_exp(&mut shares, scale, T::zero()), shares)
}

/// `−log softmax(scale · score)` at the column of the one positive; a term for each row that has one.
pub(crate) struct CrossEntropy {
    /// Factor on the scores; negative for distances.
    pub(crate) scale: f64,
}

impl<T: Real> RowObjective<T> for CrossEntropy {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(target) = row.positives().next() else { return };
        let scale = T::of(self.scale);
        gradient.copy_from_slice(row.scores);
        gradient[target] = unseen(scale);
        let others = vector::log_sum_exp(gradient, scale, T::zero());
        let (value, slope) = softplus(others - (scale * row.scores[target]).wide());
        let step = T::of(terms.add(0, value) * slope) * scale;
        vector::scale(gradient, step);
        gradient[target] = -step;
    }
}

impl RowForm for CrossEntropy {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        cross_entropy(&(scores * self.scale)?, masks)
    }
}

/// The same of logits `[n, m]`.
pub(crate) fn cross_entropy(logits: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
    cross_entropy_at(logits, &masks.positive)
}

/// The same where `target` `[n, m]` is 1, and 0 elsewhere.
pub(crate) fn cross_entropy_at(logits: &Tensor, target: &Tensor) -> Result<Vec<ComposedTerms>> {
    let others = (1.0 - target)?;
    let at_target = (logits * target)?.sum(1)?;
    let against = composed::softplus(&(log_sum_exp(&others, logits)? - at_target)?)?;
    Ok(vec![ComposedTerms::new(fill(&any(&others)?, &against, 0.0)?, any(target)?)])
}

/// Column `i` is the one positive of row `i`, whatever the labels say.
pub(crate) struct Diagonal<'a> {
    pub(crate) rows: usize,
    /// Class of each row, where it is known.
    pub(crate) classes: Option<&'a [u64]>,
}

impl Relevance for Diagonal<'_> {
    fn anchors(&self) -> usize {
        self.rows
    }

    fn references(&self) -> usize {
        self.rows
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        sets.positives.push(anchor as u32);
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        self.classes.map(|classes| classes[anchor])
    }
}

#[cfg(test)]
mod tests {
    use super::softplus;

    #[test]
    fn softplus_keeps_its_digits() {
        let (value, slope) = softplus(-80.0);
        assert!((value / (-80f64).exp() - 1.0).abs() < 1e-12 && (slope / (-80f64).exp() - 1.0).abs() < 1e-12);
        assert_eq!(softplus(f64::NEG_INFINITY), (0.0, 0.0));
        assert_eq!(softplus(1e4), (1e4, 1.0));
        assert!(softplus(f64::NAN).0.is_nan());
    }
}
