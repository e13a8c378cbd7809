//! Losses of a user's own, without the registry: a row and its derivative, candle operations on scores, or anything at all.
//!
//! | what is given | what it gets | where it runs |
//! |---|---|---|
//! | [`of_rows`]: a [`RowObjective`] | references, mined tuples, all reductions but `none`, a closed-form gradient at the speed of the library's own losses | CPU |
//! | [`of_scores`]: a function of scores and [`Masks`] | references, mined tuples, all reductions, candle's gradient | everywhere |
//! | [`of_batch`]: a function of a [`Batch`] | what it makes of the batch | everywhere |
//!
//! All three are [`Objective`]s, so miners, memories, regularisers and the trainer take them as they take the library's.

pub use crate::composed::{ComposedTerms, Masks};
pub use crate::row_loss::Space;
pub use dml_core::rowwise::RowObjective;
pub use dml_core::{Metric, Real, Reduction, Row, Terms};

use crate::error::setting;
use crate::row_loss::{Fused, Run, Sides, composed, fused};
use crate::{Batch, Evaluation, Kernel, Objective, Result};
use candle_core::Tensor;
use dml_core::relevance::Relevance;
use dml_core::rowwise::Memory;

/// A loss of each row of the scores in `space`, whose terms are reduced by `reduction`. A pair that a miner names twice counts twice.
pub fn of_rows<R>(row: R, space: Space, reduction: Reduction) -> Box<dyn Objective>
where
    R: RowObjective<f32> + RowObjective<f64> + Send + 'static,
{
    Box::new(OfRows { row, space, reduction })
}

/// A loss whose terms are candle operations on the scores in `space`, reduced by `reduction`. A pair that a miner names twice
/// counts twice.
pub fn of_scores<F>(terms: F, space: Space, reduction: Reduction) -> Box<dyn Objective>
where
    F: FnMut(&Tensor, &Masks) -> Result<Vec<ComposedTerms>> + Send + 'static,
{
    Box::new(OfScores { terms, space, reduction })
}

/// A loss of the batch as a whole: a differentiable scalar.
pub fn of_batch<F: FnMut(&Batch<'_>) -> Result<Tensor> + Send + 'static>(loss: F) -> Box<dyn Objective> {
    Box::new(OfBatch(loss))
}

struct OfRows<R> {
    row: R,
    space: Space,
    reduction: Reduction,
}

struct OfScores<F> {
    terms: F,
    space: Space,
    reduction: Reduction,
}

struct OfBatch<F>(F);

/// How the rows of a loss of one's own are taken.
fn run<'a>(relevance: &'a dyn Relevance, space: Space, reduction: &'a Reduction) -> Run<'a> {
    Run { space, relevance, reduction, weights: &[], memory: Memory::Auto }
}

impl<R: RowObjective<f32> + RowObjective<f64> + Send> Objective for OfRows<R> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let sides = Sides::of(batch);
        if self.reduction == Reduction::None {
            return Err(setting("loss of rows", "reduction none gives no one gradient: want another, or of_scores"));
        }
        if !sides.fused(Kernel::Auto) {
            return Err(setting(
                "loss of rows",
                "rows are taken on the CPU: bring the embeddings there, or use of_scores",
            ));
        }
        let relevance = batch.named(true)?;
        let run = run(relevance.as_ref(), self.space, &self.reduction);
        let Fused { loss, statistics, .. } = fused(sides, &run, &self.row)?;
        Ok(Evaluation { loss, statistics })
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }
}

impl<F: FnMut(&Tensor, &Masks) -> Result<Vec<ComposedTerms>> + Send> Objective for OfScores<F> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let relevance = batch.named(true)?;
        composed(Sides::of(batch), &run(relevance.as_ref(), self.space, &self.reduction), &mut self.terms)
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }
}

impl<F: FnMut(&Batch<'_>) -> Result<Tensor> + Send> Objective for OfBatch<F> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        Ok((self.0)(batch)?.into())
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }
}
