//! Composition of a row objective with its space and its references: the only composer.

use crate::autograd::attach;
use crate::{Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::{Problem, RowObjective, RowwiseOutput, rowwise};
use dml_core::{Matrix, Metric, normalize_gradient, normalize_rows, to_host};

/// Vectors to compare with that take no gradient.
pub(crate) struct References<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) labels: &'a [u32],
    /// Reference `self_offset + i` is anchor `i`.
    pub(crate) self_offset: Option<usize>,
}

/// Where vectors are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) metric: Metric,
    /// Whether vectors are brought to length 1 first.
    pub(crate) normalize: bool,
}

/// One side of a problem, on the host, normalised where the space asks for it.
struct Side {
    values: Vec<f32>,
    norms: Option<Vec<f32>>,
    rows: usize,
    cols: usize,
}

impl Side {
    fn new(values: Vec<f32>, rows: usize, cols: usize, normalize: bool) -> Result<Self> {
        if !normalize {
            return Ok(Self { values, norms: None, rows, cols });
        }
        let (unit, norms) = normalize_rows(Matrix::new(&values, rows, cols)?);
        Ok(Self { values: unit, norms: Some(norms), rows, cols })
    }

    fn of(tensor: &Tensor, space: Space) -> Result<Self> {
        let (values, rows, cols) = to_host(tensor)?;
        // Cosine normalises by itself.
        Self::new(values, rows, cols, space.normalize && space.metric != Metric::Cosine)
    }

    fn matrix(&self) -> Result<Matrix<'_>> {
        Ok(Matrix::new(&self.values, self.rows, self.cols)?)
    }

    fn pull_back(&self, gradient: &mut [f32]) -> Result<()> {
        if let Some(norms) = &self.norms {
            normalize_gradient(self.matrix()?, norms, gradient);
        }
        Ok(())
    }
}

/// Every row of the batch against all rows of the batch.
pub(crate) fn within(embeddings: &Tensor, labels: &[u32], space: Space, row: &impl RowObjective) -> Result<Tensor> {
    let side = Side::of(embeddings, space)?;
    let x = side.matrix()?;
    let problem = Problem {
        metric: space.metric,
        anchors: x,
        anchor_labels: labels,
        references: x,
        reference_labels: labels,
        self_offset: Some(0),
    };
    let RowwiseOutput { value, mut d_anchors, d_references } = rowwise(&problem, row)?;
    d_anchors.iter_mut().zip(&d_references).for_each(|(a, r)| *a += r);
    side.pull_back(&mut d_anchors)?;
    attach(value, (embeddings, d_anchors), vec![])
}

/// Every row of the batch against references without a gradient.
pub(crate) fn against(
    embeddings: &Tensor,
    labels: &[u32],
    references: &References<'_>,
    space: Space,
    row: &impl RowObjective,
) -> Result<Tensor> {
    let side = Side::of(embeddings, space)?;
    let normalize = side.norms.is_some();
    let others = Side::new(references.values.to_vec(), references.labels.len(), side.cols, normalize)?;
    let problem = Problem {
        metric: space.metric,
        anchors: side.matrix()?,
        anchor_labels: labels,
        references: others.matrix()?,
        reference_labels: references.labels,
        self_offset: references.self_offset,
    };
    let mut output = rowwise(&problem, row)?;
    side.pull_back(&mut output.d_anchors)?;
    attach(output.value, (embeddings, output.d_anchors), vec![])
}

/// Every row of `anchors` against all rows of another tensor; both take a gradient.
pub(crate) fn between(
    (anchors, anchor_labels): (&Tensor, &[u32]),
    (references, reference_labels): (&Tensor, &[u32]),
    space: Space,
    row: &impl RowObjective,
) -> Result<Tensor> {
    let (a, r) = (Side::of(anchors, space)?, Side::of(references, space)?);
    let problem = Problem {
        metric: space.metric,
        anchors: a.matrix()?,
        anchor_labels,
        references: r.matrix()?,
        reference_labels,
        self_offset: None,
    };
    let mut output = rowwise(&problem, row)?;
    a.pull_back(&mut output.d_anchors)?;
    r.pull_back(&mut output.d_references)?;
    attach(output.value, (anchors, output.d_anchors), vec![(references, output.d_references)])
}

/// A loss whose references can be any set of vectors: what a memory can be put around.
pub(crate) trait PairObjective: Objective {
    /// As [`Objective::loss`], against `references` instead of the batch.
    fn loss_against(&self, embeddings: &Tensor, labels: &[u32], references: &References<'_>) -> Result<Tensor>;
}

/// A row objective in a space, over the batch.
pub(crate) struct RowLoss<R> {
    pub(crate) row: R,
    pub(crate) space: Space,
}

impl<R: RowObjective + Send> Objective for RowLoss<R> {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        within(embeddings, labels, self.space, &self.row)
    }
}

impl<R: RowObjective + Send> PairObjective for RowLoss<R> {
    fn loss_against(&self, embeddings: &Tensor, labels: &[u32], references: &References<'_>) -> Result<Tensor> {
        against(embeddings, labels, references, self.space, &self.row)
    }
}
