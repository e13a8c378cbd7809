//! The one trait of this crate.

use crate::tuples::Mined;
use crate::{Error, Result, Supervision, Tuples};
use candle_core::{DType, Device, Tensor, Var};
use dml_core::relevance::Relevance;
use dml_core::rowwise::Statistics;
use dml_core::{Reduction, rowwise::Memory};
use std::collections::HashMap;

/// What a loss is taken of.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// `[n, d]`, as the encoder gave them.
    pub embeddings: &'a Tensor,
    /// What is known of them.
    pub supervision: &'a Supervision,
    /// What they are compared with; `None`: each other.
    pub references: Option<References<'a>>,
    /// Pairs or triplets that a miner has named; `None`: all.
    pub tuples: Option<&'a Tuples>,
}

/// What the embeddings of a batch are compared with: another view, other samples, a memory.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// `[m, d]`. They take a gradient if they are part of a graph.
    pub embeddings: &'a Tensor,
    /// What is known of them.
    pub supervision: &'a Supervision,
    /// Reference `self_offset + i` is the very sample `i` of the batch, which is no positive of itself; `None`: none is.
    pub self_offset: Option<usize>,
}

impl<'a> Batch<'a> {
    /// A batch against itself.
    pub fn new(embeddings: &'a Tensor, supervision: &'a Supervision) -> Self {
        Self { embeddings, supervision, references: None, tuples: None }
    }

    /// Numbers of anchors and references.
    ///
    /// # Errors
    /// When a tensor is not of rank two.
    pub fn sizes(&self) -> Result<(usize, usize)> {
        let rows = |tensor: &Tensor| match tensor.dims2() {
            Ok((rows, _)) => Ok(rows),
            Err(_) => Err(Error::Labels(format!("embeddings have shape {:?}: want [n, d]", tensor.dims()))),
        };
        let n = rows(self.embeddings)?;
        Ok((n, self.references.map_or(Ok(n), |r| rows(r.embeddings))?))
    }

    /// Who is a positive of whom, before any mining.
    ///
    /// # Errors
    /// When labels are not one per row.
    pub fn relevance(&self) -> Result<Box<dyn Relevance + 'a>> {
        let (n, m) = self.sizes()?;
        if let Some(tuples) = self.tuples {
            tuples.check(n, m)?;
        }
        match self.references {
            None => self.supervision.relate(n, self.supervision, m, Some(0)),
            Some(references) => self.supervision.relate(n, references.supervision, m, references.self_offset),
        }
    }

    /// The same, narrowed to the pairs that a miner has named if one has; with `repeats`, a pair that is named twice (by two
    /// triplets) counts twice.
    pub(crate) fn named(&self, repeats: bool) -> Result<Box<dyn Relevance + 'a>> {
        let all = self.relevance()?;
        Ok(match self.tuples {
            None => all,
            Some(tuples) => Box::new(Mined::new(all, tuples, repeats)),
        })
    }

    /// One label per row.
    ///
    /// # Errors
    /// When there are others than one each; `loss` is who wants them.
    pub fn labels(&self, loss: &str) -> Result<&'a [u64]> {
        let (labels, (n, _)) = (self.supervision.labels(loss)?, self.sizes()?);
        if labels.len() == n {
            return Ok(labels);
        }
        Err(Error::Labels(format!(
            "labels have length {} but there are {n} rows: pass one label per row",
            labels.len()
        )))
    }

    /// Refuses references, for a loss that compares the batch with itself or with proxies only.
    pub(crate) fn without_references(&self, loss: &str) -> Result<()> {
        match self.references {
            None => Ok(()),
            Some(_) => Err(Error::Labels(format!("{loss} takes no references: leave them, and a memory, out"))),
        }
    }

    /// Refuses mined tuples.
    pub(crate) fn without_tuples(&self, loss: &str) -> Result<()> {
        match self.tuples {
            None => Ok(()),
            Some(_) => Err(Error::Labels(format!("{loss} takes no mined tuples: leave the miner out"))),
        }
    }
}

/// A loss of a batch, and what was seen on the way.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// A scalar that can be differentiated with respect to the embeddings and the parameters; `[n]` under
    /// [`Reduction::None`].
    pub loss: Tensor,
    /// Numbers of terms and pairs, mean similarities; all 0 where a loss has none to tell.
    pub statistics: Statistics,
}

impl From<Tensor> for Evaluation {
    fn from(loss: Tensor) -> Self {
        Self { loss, statistics: Statistics::default() }
    }
}

/// A loss on a batch of embeddings.
pub trait Objective: Send {
    /// The loss of a batch. 0, with gradient 0, when the batch holds no term at all.
    ///
    /// # Errors
    /// When labels are not one per row, or name a class that the loss does not know, or the batch has references or tuples
    /// that the loss does not take.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation>;

    /// As [`Self::evaluate`], of a batch with one label per row.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    fn loss(&mut self, embeddings: &Tensor, labels: &[u64]) -> Result<Tensor> {
        Ok(self.evaluate(&Batch::new(embeddings, &labels.into()))?.loss)
    }

    /// Whether batches may have references, so that a memory can be put around the loss.
    fn takes_references(&self) -> bool {
        false
    }

    /// Whether batches must have references, row by row: a loss of two views.
    fn needs_references(&self) -> bool {
        false
    }

    /// Whether it learns something for each class, such as a proxy: labels are then the classes' own numbers, 0 to one less than
    /// [`Context::classes`].
    fn learns_classes(&self) -> bool {
        false
    }

    /// Whether batches may have mined tuples.
    fn takes_tuples(&self) -> bool {
        false
    }

    /// Whether [`Context::reduction`] changes how terms become one number; not where the loss is one term by definition.
    fn takes_reduction(&self) -> bool {
        false
    }

    /// Forgets the past batches that a memory holds; parameters stay.
    fn reset(&mut self) {}

    /// What an optimiser changes (proxies), with stable names.
    fn parameters(&self) -> Vec<(String, Var)> {
        Vec::new()
    }

    /// Everything else that a checkpoint must hold.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Restores what [`Self::state`] gave.
    ///
    /// # Errors
    /// When something is missing or of another size.
    fn load_state(&mut self, _state: &HashMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// Which of its two forms a loss runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// Fused where the device has kernels (the CPU), else composed.
    #[default]
    Auto,
    /// Composed of candle's operations, differentiated by its autograd.
    Composed,
}

/// What a loss must know of the rest of the training.
#[derive(Clone, Debug)]
pub struct Context {
    /// Length of an embedding.
    pub dim: usize,
    /// Number of training classes; labels are `0..classes`.
    pub classes: usize,
    /// Seed of what is drawn (proxies).
    pub seed: u64,
    /// Where parameters live.
    pub device: Device,
    /// Type of parameters.
    pub dtype: DType,
    /// Fused or composed.
    pub kernel: Kernel,
    /// How terms are reduced; `None`: as the loss does by default.
    pub reduction: Option<Reduction>,
    /// How much of the score matrix exists at a time.
    pub memory: Memory,
}

impl Context {
    /// On the CPU, in single precision, with seed 0.
    pub fn new(dim: usize, classes: usize) -> Self {
        Self {
            dim,
            classes,
            seed: 0,
            device: Device::Cpu,
            dtype: DType::F32,
            kernel: Kernel::Auto,
            reduction: None,
            memory: Memory::Auto,
        }
    }
}
