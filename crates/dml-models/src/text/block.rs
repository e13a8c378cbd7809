//! What BERT and its kin have in common: attention and two layers, each with its residual and a norm behind it.

use crate::layer::{LayerNorm, Linear, Scope, Start};
use crate::ops::{Activation, Attended, add, attention, linear, stack3};
use crate::weights::Parameter;
use crate::{Error, Result};
use candle_core::Tensor;

/// How BERT's weights begin (Devlin et al. 2019; `initializer_range` of the published configurations).
pub(super) const START: Start = Start::Normal(0.02);

/// What the parts of a block are called.
pub(super) struct Names {
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attended: &'static str,
    pub(super) attended_norm: &'static str,
    pub(super) inner: &'static str,
    pub(super) outer: &'static str,
    pub(super) outer_norm: &'static str,
}

/// Sizes of a block.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) dim: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
}

impl Sizes {
    /// `who` is the network, for messages.
    pub(super) fn check(&self, who: &str) -> Result<()> {
        if self.dim == 0 || self.heads == 0 || self.inner == 0 || !self.dim.is_multiple_of(self.heads) {
            return Err(Error::Config(format!(
                "{who}: {} numbers a token in {} heads, {} within: want sizes of 1 or more, and heads that divide the numbers",
                self.dim, self.heads, self.inner
            )));
        }
        Ok(())
    }
}

/// A linear map whose weights are used together with others'.
struct Part {
    weight: Parameter,
    bias: Parameter,
}

impl Part {
    fn new(scope: &Scope<'_>, dim: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", &[dim, dim], START)?,
            bias: scope.parameter("bias", &[dim], Start::Zeros)?,
        })
    }
}

/// A layer of a transformer with its norms behind (Vaswani et al. 2017, §3.1).
pub(super) struct Block {
    /// Queries, keys, values.
    parts: [Part; 3],
    attended: Linear,
    attended_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    outer_norm: LayerNorm,
    heads: usize,
    activation: Activation,
}

impl Block {
    pub(super) fn new(scope: &Scope<'_>, names: &Names, sizes: Sizes) -> Result<Self> {
        let (d, inner) = (sizes.dim, sizes.inner);
        let part = |name: &str| Part::new(&scope.at(name), d);
        let norm = |name: &str| LayerNorm::new(&scope.at(name), d, sizes.epsilon);
        let linear = |name: &str, dims| Linear::new(&scope.at(name), dims, START);
        Ok(Self {
            parts: [part(names.query)?, part(names.key)?, part(names.value)?],
            attended: linear(names.attended, [d, d])?,
            attended_norm: norm(names.attended_norm)?,
            inner: linear(names.inner, [d, inner])?,
            outer: linear(names.outer, [inner, d])?,
            outer_norm: norm(names.outer_norm)?,
            heads: sizes.heads,
            activation: sizes.activation,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, attended: &Attended) -> Result<Tensor> {
        // Files have three matrices; one product is faster than three.
        let weight = stack3(self.parts.each_ref().map(|part| part.weight.tensor()))?;
        let bias = stack3(self.parts.each_ref().map(|part| part.bias.tensor()))?;
        let qkv = linear(x, &weight, Some(&bias))?;
        let y = self.attended.forward(&attention(&qkv, self.heads, attended)?)?;
        let x = self.attended_norm.forward(&add(&y, x)?)?;
        let y = self.outer.forward(&self.activation.apply(&self.inner.forward(&x)?)?)?;
        self.outer_norm.forward(&add(&y, &x)?)
    }
}
