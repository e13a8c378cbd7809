//! Losses of the whole score matrix over a batch or references, in either form.

use crate::composed::{ComposedTerms, Masks};
use crate::row_loss::{Run, Sides, Space, TableForm, composed, fused_table, nothing_of};
use crate::tuples::Mined;
use crate::{Batch, Context, Evaluation, Kernel, Result};
use candle_core::Tensor;
use dml_core::relevance::Relevance;
use dml_core::rowwise::{Memory, Statistics};
use dml_core::table::Table;
use dml_core::{Real, Reduction};
use std::cell::Cell;

/// A loss of the whole score matrix that counts its terms.
pub(crate) trait Counting {
    /// Value, with `dL/dscores` added to `gradient` `[n, m]`, neither of them empty; the numbers of terms into `seen`.
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64>;
}

/// A counting loss as one that does not tell.
struct Counted<'a, F> {
    form: &'a F,
    seen: Cell<Statistics>,
}

impl<F: Counting> TableForm for Counted<'_, F> {
    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<f64> {
        if gradient.is_empty() {
            return Ok(0.0);
        }
        let mut seen = table.pairs();
        let value = self.form.count(table, gradient, &mut seen)?;
        self.seen.set(seen);
        Ok(value)
    }
}

/// The fused form of a counting loss.
pub(crate) fn fused_counting<F: Counting>(
    sides: Sides<'_>,
    space: Space,
    relevance: &dyn Relevance,
    form: &F,
) -> Result<Evaluation> {
    let counted = Counted { form, seen: Cell::default() };
    let loss = fused_table(sides, space, relevance, &counted)?;
    Ok(Evaluation { loss, statistics: counted.seen.get() })
}

/// Where a loss of the score matrix is taken, and how it is reduced.
pub(crate) struct Tabular {
    space: Space,
    /// What the fused form knows; any other is left to the composed one.
    own: Reduction,
    reduction: Reduction,
    kernel: Kernel,
    memory: Memory,
}

impl Tabular {
    /// In a space, with the loss's own reduction unless the context has another.
    pub(crate) fn new(space: Space, own: Reduction, context: &Context) -> Self {
        let reduction = context.reduction.clone().unwrap_or_else(|| own.clone());
        Self { space, own, reduction, kernel: context.kernel, memory: context.memory }
    }

    /// The loss of a batch, in which a pair that a miner names twice counts twice.
    pub(crate) fn evaluate<F: Counting>(
        &self,
        batch: &Batch<'_>,
        form: &F,
        compose: impl FnOnce(&Tensor, &Masks) -> Result<Vec<ComposedTerms>>,
    ) -> Result<Evaluation> {
        let relevance = batch.relevance()?;
        let mined = batch.tuples.map(|tuples| Mined::new(relevance.as_ref(), tuples, true));
        let relevance = mined.as_ref().map_or(relevance.as_ref(), |mined| mined);
        let sides = Sides::of(batch);
        if relevance.anchors() * relevance.references() == 0 {
            return Ok(nothing_of(sides, &self.reduction)?.into());
        }
        if sides.fused(self.kernel) && self.reduction == self.own {
            return fused_counting(sides, self.space, relevance, form);
        }
        let run = Run { space: self.space, relevance, reduction: &self.reduction, weights: &[], memory: self.memory };
        composed(sides, &run, compose)
    }
}
