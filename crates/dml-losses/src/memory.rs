//! Cross-batch memory around any loss that takes references.
//!
//! `L = batch_weight·L(batch, batch) + weight·L(batch, memory)`, with a first-in-first-out memory of past embeddings that takes no gradient. Wang
//! et al., *Cross-Batch Memory for Embedding Learning*, 2020, alg. 1. A batch is enqueued before its loss is taken, so the
//! memory holds it, as its newest rows in their order; when the memory is full, as many of the oldest make room. An embedding is
//! not compared with its own entry. A miner inside the loss mines the batch against the memory; unlike in
//! pytorch-metric-learning, it does not see a row's own entry either. That library's form is `batch_weight = 0`.

use crate::error::setting;
use crate::row_loss::wide;
use crate::wrappers::add;
use crate::{Batch, Context, Error, Evaluation, Objective, References, Result, Supervision};
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings of the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Embeddings held. Default 1024.
    pub size: usize,
    /// Batches of the base loss alone before the memory is used: old embeddings mislead while the encoder still moves fast. Where
    /// gradients are accumulated, a step has several. The memory fills from the first batch. Default 0.
    pub start_step: u64,
    /// Weight of the loss against the memory. Default 1.
    pub weight: f64,
    /// Weight of the loss within the batch once the memory is used. Default 1.
    pub batch_weight: f64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { size: 1024, start_step: 0, weight: 1.0, batch_weight: 1.0 }
    }
}

impl MemoryConfig {
    fn check(&self) -> Result<()> {
        let wrong = |problem: String| Err(setting("memory", problem));
        if self.size == 0 {
            return wrong("size is 0: want 1 or more, or leave the memory out".to_owned());
        }
        for (key, weight) in [("weight", self.weight), ("batch_weight", self.batch_weight)] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return wrong(format!("{key} is {weight}: want 0 or more"));
            }
        }
        if self.weight + self.batch_weight == 0.0 {
            return wrong("weight and batch_weight are both 0: give one of them a weight".to_owned());
        }
        Ok(())
    }
}

/// A loss with a memory.
pub struct CrossBatchMemory {
    base: Box<dyn Objective>,
    config: MemoryConfig,
    dim: usize,
    device: Device,
    /// What is held, oldest first; `None`: nothing. In single or double precision, as the last batch was.
    embeddings: Option<Tensor>,
    /// Their labels.
    labels: Vec<u64>,
    /// Batches seen.
    step: u64,
}

impl CrossBatchMemory {
    /// Around a loss that takes references.
    ///
    /// # Errors
    /// When the loss takes none, or a setting has no meaning.
    pub fn new(base: Box<dyn Objective>, config: MemoryConfig, context: &Context) -> Result<Self> {
        config.check()?;
        if !base.takes_references() {
            let problem = "the loss compares with nothing but its batch or its proxies: want one that takes references, such as contrastive";
            return Err(setting("memory", problem));
        }
        if base.needs_references() {
            let problem =
                "the loss compares two views row by row, which a memory has not: want another, such as nt_xent";
            return Err(setting("memory", problem));
        }
        let (dim, device) = (context.dim, context.device.clone());
        Ok(Self { base, config, dim, device, embeddings: None, labels: Vec::new(), step: 0 })
    }

    /// How many embeddings are held.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Adds a batch as the newest rows; the oldest make room for it.
    fn enqueue(&mut self, embeddings: &Tensor, labels: &[u64]) -> Result<Tensor> {
        let new = wide(&embeddings.detach())?;
        let surplus = (self.labels.len() + labels.len()).saturating_sub(self.config.size);
        let kept = self.labels.len() - surplus;
        let all = match &self.embeddings {
            Some(old) if kept > 0 => {
                let old = old.narrow(0, surplus, kept)?.to_dtype(new.dtype())?.to_device(new.device())?;
                Tensor::cat(&[&old, &new], 0)?
            }
            // A copy: what is held must not change when the caller's tensor is set.
            _ => new.copy()?,
        };
        self.labels.drain(..surplus);
        self.labels.extend_from_slice(labels);
        self.embeddings = Some(all.clone());
        Ok(all)
    }
}

impl Objective for CrossBatchMemory {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references("memory")?;
        batch.without_tuples("memory")?;
        let labels = batch.labels("memory")?;
        let (n, d) = batch.embeddings.dims2()?;
        if d != self.dim {
            let dim = self.dim;
            return Err(Error::Labels(format!(
                "embeddings have shape [{n}, {d}], the memory holds vectors of length {dim}: give it those of its model"
            )));
        }
        if n > self.config.size {
            let size = self.config.size;
            return Err(setting("memory", format!("size is {size} but the batch has {n} rows: want at least a batch")));
        }
        let held = self.enqueue(batch.embeddings, labels)?;
        self.step += 1;
        if self.step <= self.config.start_step {
            return self.base.evaluate(batch);
        }
        let mut sum = None;
        if self.config.weight != 0.0 {
            let supervision = Supervision::Labels(self.labels.clone());
            let references =
                References { embeddings: &held, supervision: &supervision, self_offset: Some(self.labels.len() - n) };
            let against = self.base.evaluate(&Batch { references: Some(references), ..*batch })?;
            sum = Some(add(sum, against, self.config.weight)?);
        }
        if self.config.batch_weight != 0.0 {
            let within = self.base.evaluate(batch)?;
            sum = Some(add(sum, within, self.config.batch_weight)?);
        }
        // Never: one of the weights is above 0.
        sum.map_or_else(|| self.base.evaluate(batch), Ok)
    }

    fn learns_classes(&self) -> bool {
        self.base.learns_classes()
    }

    fn takes_reduction(&self) -> bool {
        self.base.takes_reduction()
    }

    fn reset(&mut self) {
        self.embeddings = None;
        self.labels.clear();
        self.base.reset();
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.base.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = self.base.state()?;
        let counters = [self.step as i64, self.labels.len() as i64];
        state.push(("memory.counters".to_owned(), Tensor::new(&counters, &self.device)?));
        if let Some(embeddings) = &self.embeddings {
            state.push(("memory.embeddings".to_owned(), embeddings.clone()));
            // The bits of a label, whatever their sign.
            let labels: Vec<i64> = self.labels.iter().map(|&label| label as i64).collect();
            state.push(("memory.labels".to_owned(), Tensor::new(labels, &self.device)?));
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::State(format!("{name} is missing")));
        let counters: Vec<i64> = find("memory.counters")?.to_vec1()?;
        let [step, held] = counters[..] else {
            return Err(Error::State(format!("memory.counters has {} values: want 2", counters.len())));
        };
        let (embeddings, labels) = if held == 0 {
            (None, Vec::new())
        } else {
            let labels: Vec<i64> = find("memory.labels")?.to_vec1()?;
            (Some(find("memory.embeddings")?.copy()?), labels.into_iter().map(|label| label as u64).collect())
        };
        let shape = embeddings.as_ref().map_or(Ok((0, self.dim)), Tensor::dims2)?;
        if shape != (labels.len(), self.dim) || labels.len() as i64 != held || labels.len() > self.config.size {
            let ((rows, length), size, dim) = (shape, self.config.size, self.dim);
            return Err(Error::State(format!(
                "a memory of {rows} vectors of length {length} with {} labels does not fit this one of size {size} and length {dim}",
                labels.len()
            )));
        }
        self.base.load_state(state)?;
        (self.embeddings, self.labels, self.step) = (embeddings, labels, step as u64);
        Ok(())
    }
}
