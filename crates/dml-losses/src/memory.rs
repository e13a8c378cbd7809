//! Cross-batch memory around any pair loss.
//!
//! `L = batch_weight·L(batch, batch) + weight·L(batch, memory)`, with a first-in-first-out memory of past embeddings that takes no
//! gradient. Wang et al., *Cross-Batch Memory for Embedding Learning*, 2020, alg. 1. The batch is enqueued before the loss, so the memory
//! holds it; an embedding is not compared with its own entry. pytorch-metric-learning's form is `batch_weight = 0`.

use crate::params::wrong;
use crate::row_loss::{PairObjective, References};
use crate::{Context, Error, Objective, Result};
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings of the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Embeddings held. Default 1024.
    pub size: usize,
    /// Steps of the base loss alone before the memory is used: old embeddings mislead while the encoder still moves fast.
    /// The memory fills from the first step. Default 0.
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

/// A loss with a memory.
pub struct CrossBatchMemory {
    base: Box<dyn PairObjective>,
    config: MemoryConfig,
    dim: usize,
    device: Device,
    /// A ring: the oldest entry is at `next` once it is full.
    values: Vec<f32>,
    labels: Vec<u32>,
    next: usize,
    step: u64,
}

impl CrossBatchMemory {
    pub(crate) fn new(base: Box<dyn PairObjective>, config: MemoryConfig, context: &Context) -> Result<Self> {
        if config.size == 0 {
            return Err(wrong("memory", "size is 0: want 1 or more, or leave the memory out".to_owned()));
        }
        if !(config.weight >= 0.0 && config.batch_weight >= 0.0) {
            return Err(wrong("memory", "weight and batch_weight must be 0 or more".to_owned()));
        }
        if config.weight + config.batch_weight == 0.0 {
            return Err(wrong("memory", "weight and batch_weight are both 0: give one of them a weight".to_owned()));
        }
        let device = context.device.clone();
        Ok(Self { base, config, dim: context.dim, device, values: Vec::new(), labels: Vec::new(), next: 0, step: 0 })
    }

    /// Adds a batch; the position of each of its rows.
    fn enqueue(&mut self, values: &[f32], labels: &[u32]) -> Vec<usize> {
        let rows = values.chunks_exact(self.dim).zip(labels);
        rows.map(|(row, &label)| {
            let at = self.next;
            if self.labels.len() < self.config.size {
                self.values.extend_from_slice(row);
                self.labels.push(label);
            } else {
                self.values[at * self.dim..][..self.dim].copy_from_slice(row);
                self.labels[at] = label;
            }
            self.next = (at + 1) % self.config.size;
            at
        })
        .collect()
    }
}

impl Objective for CrossBatchMemory {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let (values, n, d) = dml_core::to_host(embeddings)?;
        if n != labels.len() || d != self.dim {
            return Err(Error::Labels(format!(
                "{} labels for embeddings of shape [{n}, {d}], the memory holds vectors of length {}: pass one label per row",
                labels.len(),
                self.dim
            )));
        }
        if n > self.config.size {
            let size = self.config.size;
            return Err(wrong("memory", format!("size is {size} but the batch has {n} rows: want at least a batch")));
        }
        let positions = self.enqueue(&values, labels);
        self.step += 1;
        if self.step <= self.config.start_step {
            return self.base.loss(embeddings, labels);
        }
        // Turned so that the batch comes last, in order: then its own entries are the anchors.
        let held = self.labels.len();
        let first = positions.first().copied().unwrap_or(0);
        let order = (0..held).map(|k| (first + n + k) % held);
        let mut turned = References { values: &[], labels: &[], self_offset: Some(held - n) };
        let (mut turned_values, mut turned_labels) = (Vec::with_capacity(held * d), Vec::with_capacity(held));
        for at in order {
            turned_values.extend_from_slice(&self.values[at * d..][..d]);
            turned_labels.push(self.labels[at]);
        }
        (turned.values, turned.labels) = (&turned_values, &turned_labels);
        let memory = (self.base.loss_against(embeddings, labels, &turned)? * self.config.weight)?;
        if self.config.batch_weight == 0.0 {
            return Ok(memory);
        }
        Ok(((self.base.loss(embeddings, labels)? * self.config.batch_weight)? + memory)?)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.base.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = self.base.state()?;
        let counters = [self.step as i64, self.next as i64, self.labels.len() as i64];
        state.push(("memory.counters".to_owned(), Tensor::new(&counters, &self.device)?));
        if !self.labels.is_empty() {
            let embeddings = Tensor::from_slice(&self.values, (self.labels.len(), self.dim), &self.device)?;
            state.push(("memory.embeddings".to_owned(), embeddings));
            state.push(("memory.labels".to_owned(), Tensor::new(&self.labels[..], &self.device)?));
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let find = |name: &str| state.get(name).ok_or_else(|| Error::State(format!("{name} is missing")));
        let counters: Vec<i64> = find("memory.counters")?.to_vec1()?;
        let [step, next, held] = counters[..] else {
            return Err(Error::State(format!("memory.counters has {} values: want 3", counters.len())));
        };
        let (values, labels) = if held == 0 {
            (Vec::new(), Vec::new())
        } else {
            let embeddings = find("memory.embeddings")?.flatten_all()?.to_vec1()?;
            (embeddings, find("memory.labels")?.to_vec1()?)
        };
        let (held, next_at) = (held as usize, next as usize);
        if labels.len() != held
            || values.len() != held * self.dim
            || held > self.config.size
            || next_at >= self.config.size
        {
            return Err(Error::State(format!(
                "memory of {held} vectors of length {} does not fit this loss of size {} and length {}",
                values.len().checked_div(held).unwrap_or(0),
                self.config.size,
                self.dim
            )));
        }
        (self.values, self.labels, self.next, self.step) = (values, labels, next_at, step as u64);
        self.base.load_state(state)
    }
}
