//! Losses of the whole score matrix over a batch or references, in either form.

use crate::composed::{ComposedTerms, Masks};
use crate::row_loss::{Sides, Space, TableForm, composed, fused_table, nothing_of};
use crate::setting::Setting;
use crate::{Batch, Context, Evaluation, Result};
use candle_core::Tensor;
use dml_core::relevance::Relevance;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Reduction};

/// A loss of the whole score matrix that counts its terms.
pub(crate) trait Counting {
    /// Value, with `dL/dscores` added to `gradient` `[n, m]`, neither of them empty; the numbers of terms into `seen`.
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64>;
}

/// A counting loss as a table's.
struct Counted<'a, F>(&'a F);

impl<F: Counting> TableForm for Counted<'_, F> {
    type Seen = Statistics;

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Statistics)> {
        if gradient.is_empty() {
            return Ok((0.0, Statistics::default()));
        }
        let mut seen = table.pairs();
        let value = self.0.count(table, gradient, &mut seen)?;
        Ok((value, seen))
    }
}

/// The fused form of a counting loss.
pub(crate) fn fused_counting<F: Counting>(
    sides: Sides<'_>,
    space: Space,
    relevance: &dyn Relevance,
    form: &F,
) -> Result<Evaluation> {
    let (loss, statistics) = fused_table(sides, space, relevance, &Counted(form))?;
    Ok(Evaluation { loss, statistics })
}

/// A loss of the score matrix: its setting, and the one reduction that the fused form knows.
pub(crate) struct Tabular {
    own: Reduction,
    setting: Setting,
}

impl Tabular {
    /// In a space, with the loss's own reduction unless the context has another.
    pub(crate) fn new(space: Space, own: Reduction, context: &Context) -> Self {
        Self { setting: Setting::new(space, own.clone(), context), own }
    }

    /// The loss of a batch, in which a pair that a miner names twice counts twice.
    pub(crate) fn evaluate<F: Counting>(
        &self,
        batch: &Batch<'_>,
        form: &F,
        compose: impl FnOnce(&Tensor, &Masks) -> Result<Vec<ComposedTerms>>,
    ) -> Result<Evaluation> {
        let (relevance, sides, setting) = (batch.named(true)?, Sides::of(batch), &self.setting);
        let relevance = relevance.as_ref();
        if relevance.anchors() * relevance.references() == 0 {
            return Ok(nothing_of(sides, &setting.reduction)?.into());
        }
        if sides.fused(setting.kernel) && setting.reduction == self.own {
            return fused_counting(sides, setting.space, relevance, form);
        }
        composed(sides, &setting.run(relevance, &[]), compose)
    }
}
