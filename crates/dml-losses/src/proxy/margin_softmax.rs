//! Softmax over cosines whose logit at the target is edited: what ArcFace, CosFace and their kin share.

use crate::Result;
use crate::composed::{ComposedTerms, Masks};
use crate::row_loss::RowForm;
use crate::softmax::{cross_entropy, softplus};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Real, Row, Terms, vector};

/// How the cosine at the target is edited.
pub(crate) trait TargetLogit: Send + Sync + 'static {
    /// The edited cosine and its derivative.
    fn target(&self, cosine: f64) -> (f64, f64);

    /// The same of every entry of a tensor.
    fn compose(&self, cosine: &Tensor) -> Result<Tensor>;
}

/// `−log softmax(s·edited cosines)` at the target.
pub(crate) struct MarginSoftmax<F> {
    pub(crate) scale: f64,
    pub(crate) target: F,
}

/// `−log softmax(scale·x)` at `target`, whose number counts as `edited`. Returns it with the share of all others, which is
/// its derivative by their logits together and minus that by the target's; `x` becomes how the others share it, 0 at the
/// target.
///
/// Not as a difference of two logarithms: `log(1 + e^{others − target})` keeps its digits where the loss is all but 0.
#[inline(always)]
pub(super) fn against_others<T: Real>(x: &mut [T], scale: f64, target: usize, edited: f64) -> (f64, f64) {
    let (mut scale, mut edited) = (scale, edited);
    if scale == 0.0 {
        // All logits are 0, whatever was edited; 0·∞ below would be no number.
        vector::scale(x, T::zero());
        (scale, edited) = (1.0, 0.0);
    }
    x[target] = T::neg_infinity();
    let others = vector::log_sum_exp(x, T::of(scale), T::zero());
    softplus(others - scale * edited)
}

impl<T: Real, F: TargetLogit> RowObjective<T> for MarginSoftmax<F> {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(target) = row.positives().next() else { return };
        let (edited, slope) = self.target.target(row.scores[target].wide());
        gradient.copy_from_slice(row.scores);
        let (value, share) = against_others(gradient, self.scale, target, edited);
        let step = terms.add(0, value) * share * self.scale;
        vector::scale(gradient, T::of(step));
        gradient[target] = T::of(-step * slope);
    }
}

impl<F: TargetLogit> RowForm for MarginSoftmax<F> {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let edited = masks.positive.gt(0.0)?.where_cond(&self.target.compose(scores)?, scores)?;
        cross_entropy(&(edited * self.scale)?, masks)
    }
}
