//! BERT (Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers*, 2019), without pooler and classifier.
//!
//! Names and details of transformers' `BertModel`, but nothing is dropped out in training (there: a tenth of the numbers of each
//! layer and of the attention): `head.dropout` drops pooled features. candle-transformers' BERT cannot be trained: its norms have no
//! gradient.

use super::block::{Block, Names, Sizes};
use super::embeddings::{self, Embeddings};
use crate::backbone::{Backbone, Features};
use crate::layer::Scope;
use crate::ops::{Activation, Attended};
use crate::{Input, Mode, Result};
use serde::{Deserialize, Serialize};

/// Shape of a BERT, in the words of its published `config.json`. Default: that of all-MiniLM-L6-v2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BertConfig {
    /// Tokens that there are. Default 30,522.
    pub vocab_size: usize,
    /// Numbers of a token. Default 384.
    pub hidden_size: usize,
    /// Blocks. Default 6.
    pub num_hidden_layers: usize,
    /// Parts of an attention. Default 12.
    pub num_attention_heads: usize,
    /// Numbers of the hidden layer of a block. Default 1536.
    pub intermediate_size: usize,
    /// Most tokens of a text. Default 512.
    pub max_position_embeddings: usize,
    /// Kinds of segments. Default 2.
    pub type_vocab_size: usize,
    /// ε of the norms. Default 1e-12.
    pub layer_norm_eps: f64,
    /// What follows the hidden layer of a block. Default `gelu`.
    pub hidden_act: Activation,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
        }
    }
}

const NAMES: Names = Names {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attended: "attention.output.dense",
    attended_norm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    outer: "output.dense",
    outer_norm: "output.LayerNorm",
};

/// A BERT.
pub(crate) struct Bert {
    embeddings: Embeddings,
    blocks: Vec<Block>,
    dim: usize,
}

impl Bert {
    pub(crate) fn new(scope: &Scope<'_>, config: &BertConfig) -> Result<Self> {
        let (dim, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let sizes = Sizes {
            dim,
            heads: config.num_attention_heads,
            inner: config.intermediate_size,
            epsilon,
            activation: config.hidden_act,
        };
        sizes.check("bert")?;
        let tables = embeddings::Sizes {
            words: config.vocab_size,
            places: config.max_position_embeddings,
            types: config.type_vocab_size,
            dim,
            epsilon,
        };
        let embeddings = Embeddings::new(&scope.at("embeddings"), "bert", tables)?;
        let layers = scope.at("encoder.layer");
        let blocks = (0..config.num_hidden_layers).map(|i| Block::new(&layers.at(i), &NAMES, sizes));
        Ok(Self { embeddings, blocks: blocks.collect::<Result<_>>()?, dim })
    }
}

impl Backbone for Bert {
    fn features(&self, input: &Input, _mode: Mode) -> Result<Features> {
        through(&self.embeddings, &self.blocks, input, "bert")
    }

    fn channels(&self) -> usize {
        self.dim
    }
}

/// Tokens through tables and blocks.
pub(super) fn through(embeddings: &Embeddings, blocks: &[Block], input: &Input, who: &str) -> Result<Features> {
    let tokens = input.tokens(who)?;
    let mut x = embeddings.forward(tokens)?;
    let attended = Attended { mask: Some(tokens.mask.clone()), causal: false };
    for block in blocks {
        x = block.forward(&x, &attended)?;
    }
    Ok(Features::Tokens { values: x, mask: Some(tokens.mask.clone()) })
}
