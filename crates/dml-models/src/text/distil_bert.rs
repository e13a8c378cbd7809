//! DistilBERT (Sanh et al., *DistilBERT, a distilled version of BERT*, 2019), without classifier.
//!
//! Names and details of transformers' `DistilBertModel`: BERT's blocks, no segments, ε = 1e-12. As with BERT nothing is dropped out.

use super::bert::through;
use super::block::{Block, Names, Sizes};
use super::embeddings::{self, Embeddings};
use crate::backbone::{Backbone, Features};
use crate::layer::Scope;
use crate::ops::Activation;
use crate::{Input, Mode, Result};
use serde::{Deserialize, Serialize};

/// Shape of a DistilBERT, in the words of its published `config.json`. Default: that of distilbert-base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistilBertConfig {
    /// Tokens that there are. Default 30,522.
    pub vocab_size: usize,
    /// Numbers of a token. Default 768.
    pub dim: usize,
    /// Blocks. Default 6.
    pub n_layers: usize,
    /// Parts of an attention. Default 12.
    pub n_heads: usize,
    /// Numbers of the hidden layer of a block. Default 3072.
    pub hidden_dim: usize,
    /// Most tokens of a text. Default 512.
    pub max_position_embeddings: usize,
    /// What follows the hidden layer of a block. Default `gelu`.
    pub activation: Activation,
}

impl Default for DistilBertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            dim: 768,
            n_layers: 6,
            n_heads: 12,
            hidden_dim: 3072,
            max_position_embeddings: 512,
            activation: Activation::Gelu,
        }
    }
}

const NAMES: Names = Names {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attended: "attention.out_lin",
    attended_norm: "sa_layer_norm",
    inner: "ffn.lin1",
    outer: "ffn.lin2",
    outer_norm: "output_layer_norm",
};

const EPSILON: f64 = 1e-12;

/// A DistilBERT.
pub(crate) struct DistilBert {
    embeddings: Embeddings,
    blocks: Vec<Block>,
    dim: usize,
}

impl DistilBert {
    pub(crate) fn new(scope: &Scope<'_>, config: &DistilBertConfig) -> Result<Self> {
        let sizes = Sizes {
            dim: config.dim,
            heads: config.n_heads,
            inner: config.hidden_dim,
            epsilon: EPSILON,
            activation: config.activation,
        };
        sizes.check("distil_bert")?;
        let tables = embeddings::Sizes {
            words: config.vocab_size,
            places: config.max_position_embeddings,
            types: 0,
            dim: config.dim,
            epsilon: EPSILON,
        };
        let embeddings = Embeddings::new(&scope.at("embeddings"), "distil_bert", tables)?;
        let layers = scope.at("transformer.layer");
        let blocks = (0..config.n_layers).map(|i| Block::new(&layers.at(i), &NAMES, sizes));
        Ok(Self { embeddings, blocks: blocks.collect::<Result<_>>()?, dim: config.dim })
    }
}

impl Backbone for DistilBert {
    fn features(&self, input: &Input, _mode: Mode) -> Result<Features> {
        through(&self.embeddings, &self.blocks, input, "distil_bert")
    }

    fn channels(&self) -> usize {
        self.dim
    }
}
