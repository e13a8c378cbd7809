//! Where a loss of rows is taken and how it is reduced: what all of them are built with.

use crate::row_loss::{Fused, RowForm, Run, Sides, Space, composed, fused};
use crate::{Context, Evaluation, Kernel, Result};
use dml_core::Reduction;
use dml_core::relevance::Relevance;
use dml_core::rowwise::Memory;

/// Where a loss is taken and how it is reduced.
pub(crate) struct Setting {
    /// Where vectors are compared.
    pub(crate) space: Space,
    /// How terms are reduced.
    pub(crate) reduction: Reduction,
    /// Fused or composed.
    pub(crate) kernel: Kernel,
    /// How much of the score matrix exists at a time.
    pub(crate) memory: Memory,
}

impl Setting {
    /// In a space, with the loss's own reduction unless the context has another.
    pub(crate) fn new(space: Space, own: Reduction, context: &Context) -> Self {
        let reduction = context.reduction.clone().unwrap_or(own);
        Self { space, reduction, kernel: context.kernel, memory: context.memory }
    }

    /// How its rows are taken; `weights` of the anchors, or none.
    pub(crate) fn run<'a>(&'a self, relevance: &'a dyn Relevance, weights: &'a [f64]) -> Run<'a> {
        Run { space: self.space, relevance, reduction: &self.reduction, weights, memory: self.memory }
    }

    /// Whether the fused form can be taken.
    pub(crate) fn fused(&self, sides: Sides<'_>) -> bool {
        // A number for each anchor cannot carry one gradient: autograd's it is.
        sides.fused(self.kernel) && self.reduction != Reduction::None
    }

    /// A row in the form that can be taken.
    pub(crate) fn evaluate<R: RowForm>(
        &self,
        sides: Sides<'_>,
        relevance: &dyn Relevance,
        weights: &[f64],
        row: &R,
    ) -> Result<Evaluation> {
        let run = self.run(relevance, weights);
        if self.fused(sides) {
            let Fused { loss, statistics, .. } = fused(sides, &run, row)?;
            return Ok(Evaluation { loss, statistics });
        }
        composed(sides, &run, |scores, masks| row.compose(scores, masks))
    }
}
