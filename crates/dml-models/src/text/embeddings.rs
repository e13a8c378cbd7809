//! Tokens to vectors: those of the word, of its place and of its segment, added and normalised.

use super::block::START;
use crate::layer::{LayerNorm, Scope};
use crate::ops::look_up;
use crate::weights::Parameter;
use crate::{Error, Result, Tokens};
use candle_core::{DType, Tensor};

/// Sizes of the tables.
pub(super) struct Sizes {
    pub(super) words: usize,
    pub(super) places: usize,
    /// 0: there is no such table.
    pub(super) types: usize,
    pub(super) dim: usize,
    pub(super) epsilon: f64,
}

/// The tables.
pub(super) struct Embeddings {
    /// The network, for messages.
    who: &'static str,
    sizes: Sizes,
    words: Parameter,
    places: Parameter,
    types: Option<Parameter>,
    norm: LayerNorm,
}

impl Embeddings {
    /// Under the names that BERT and DistilBERT share.
    pub(super) fn new(scope: &Scope<'_>, who: &'static str, sizes: Sizes) -> Result<Self> {
        if sizes.words == 0 || sizes.places == 0 {
            return Err(Error::Config(format!(
                "{who}: a vocabulary of {} and {} places: want 1 or more of each",
                sizes.words, sizes.places
            )));
        }
        let table = |name: &str, rows| scope.at(name).parameter("weight", &[rows, sizes.dim], START);
        Ok(Self {
            who,
            words: table("word_embeddings", sizes.words)?,
            places: table("position_embeddings", sizes.places)?,
            types: if sizes.types > 0 { Some(table("token_type_embeddings", sizes.types)?) } else { None },
            norm: LayerNorm::new(&scope.at("LayerNorm"), sizes.dim, sizes.epsilon)?,
            sizes,
        })
    }

    /// `[n, t, dim]`.
    pub(super) fn forward(&self, tokens: &Tokens) -> Result<Tensor> {
        let t = self.check(tokens)?;
        let mut x = look_up(&self.words.tensor(), &tokens.ids)?;
        x = x.broadcast_add(&self.places.tensor().narrow(0, 0, t)?)?;
        if let Some(table) = &self.types {
            x = match &tokens.types {
                Some(types) => (x + look_up(&table.tensor(), types)?)?,
                None => x.broadcast_add(&table.tensor().get(0)?)?,
            };
        }
        self.norm.forward(&x)
    }

    /// Refuses what no row of a table is for; gives the length of the texts.
    fn check(&self, tokens: &Tokens) -> Result<usize> {
        let who = self.who;
        let wrong = |problem: String| Error::Config(format!("{who}: {problem}"));
        let &[n, t] = tokens.ids.dims() else {
            let shape = tokens.ids.dims();
            return Err(wrong(format!("ids have the shape {shape:?}: give [texts, tokens]")));
        };
        if n == 0 || t == 0 {
            return Err(wrong(format!("{n} texts of {t} tokens: give at least one of each")));
        }
        if t > self.sizes.places {
            return Err(wrong(format!(
                "texts of {t} tokens, but it has places for {}: cut them there (max_length of the tokenizer)",
                self.sizes.places
            )));
        }
        for (what, tensor) in [("mask", Some(&tokens.mask)), ("types", tokens.types.as_ref())] {
            if let Some(tensor) = tensor.filter(|tensor| tensor.dims() != [n, t]) {
                let shape = tensor.dims();
                return Err(wrong(format!(
                    "{what} have the shape {shape:?} but ids [{n}, {t}]: give a number a token"
                )));
            }
        }
        let tables = [
            ("id", Some(&tokens.ids), self.sizes.words, "the tokenizer is another model's"),
            ("type", tokens.types.as_ref().filter(|_| self.types.is_some()), self.sizes.types, "give 0"),
        ];
        for (what, tensor, rows, mend) in tables {
            let Some(tensor) = tensor else { continue };
            if tensor.dtype() != DType::U32 {
                return Err(wrong(format!("{what}s are of {:?}: give u32", tensor.dtype())));
            }
            let numbers = tensor.flatten_all()?.to_vec1::<u32>()?;
            if let Some(place) = numbers.iter().position(|&number| number as usize >= rows) {
                return Err(wrong(format!(
                    "token {} of text {} has {what} {}, but there are {rows}: {mend}",
                    place % t,
                    place / t,
                    numbers[place]
                )));
            }
        }
        Ok(t)
    }
}
