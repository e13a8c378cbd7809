//! The one trait of this crate, and what goes in.

use crate::{Error, Result, Weights};
use candle_core::Tensor;

/// Whether a pass learns from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics are used and running statistics updated; dropout drops.
    Train,
    /// Running statistics are used; the embedding of one input does not depend on its neighbours.
    Eval,
}

/// A batch of inputs.
#[derive(Clone, Debug)]
pub enum Input {
    /// Images, `[n, c, h, w]`.
    Images(Tensor),
    /// Texts as tokens.
    Tokens(Tokens),
}

/// Texts as tokens, padded to one length.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Numbers of the tokens, `[n, t]` of `u32`.
    pub ids: Tensor,
    /// 1 where there is a token and 0 where there is padding, `[n, t]` of `u32`.
    pub mask: Tensor,
    /// Number of the segment of each token, `[n, t]` of `u32`; all 0, if there is none.
    pub types: Option<Tensor>,
}

impl Input {
    /// Number of inputs.
    pub fn len(&self) -> usize {
        match self {
            Self::Images(images) => images.dims().first().copied().unwrap_or(0),
            Self::Tokens(tokens) => tokens.ids.dims().first().copied().unwrap_or(0),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `length` of the inputs from number `start` on; of texts with their padding.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn narrow(&self, start: usize, length: usize) -> Result<Self> {
        let part = |tensor: &Tensor| tensor.narrow(0, start, length);
        Ok(match self {
            Self::Images(images) => Self::Images(part(images)?),
            Self::Tokens(Tokens { ids, mask, types }) => {
                let types = types.as_ref().map(part).transpose()?;
                Self::Tokens(Tokens { ids: part(ids)?, mask: part(mask)?, types })
            }
        })
    }

    /// The images, or an error that says who wants them.
    ///
    /// # Errors
    /// When these are texts.
    pub fn images(&self, encoder: &str) -> Result<&Tensor> {
        match self {
            Self::Images(images) => Ok(images),
            Self::Tokens(_) => {
                Err(Error::Config(format!("{encoder} embeds images but got tokens: give images [n, c, h, w]")))
            }
        }
    }

    /// As [`Self::images`], of the shape `[c, h, w]` that the encoder was built for.
    ///
    /// # Errors
    /// When these are texts, or images of another shape.
    pub(crate) fn images_of(&self, encoder: &str, shape: [usize; 3]) -> Result<&Tensor> {
        let images = self.images(encoder)?;
        let (_, c, h, w) = images.dims4()?;
        if [c, h, w] == shape {
            return Ok(images);
        }
        let [ec, eh, ew] = shape;
        Err(Error::Config(format!(
            "images are {c}x{h}x{w} but the encoder was built for {ec}x{eh}x{ew}: resize them or rebuild it"
        )))
    }

    /// The tokens, or an error that says who wants them.
    ///
    /// # Errors
    /// When these are images.
    pub fn tokens(&self, encoder: &str) -> Result<&Tokens> {
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            Self::Images(_) => Err(Error::Config(format!("{encoder} embeds texts but got images: give tokens"))),
        }
    }
}

impl From<Tensor> for Input {
    fn from(images: Tensor) -> Self {
        Self::Images(images)
    }
}

impl From<Tokens> for Input {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

/// A differentiable map from a batch of inputs to embeddings.
pub trait Encoder: Send + Sync {
    /// Embeds `input` into `[n, d]`.
    ///
    /// # Errors
    /// When the input is not of the kind and shape that the encoder was built for.
    fn embed(&self, input: &Input, mode: Mode) -> Result<Tensor>;

    /// Length `d` of an embedding.
    fn dim(&self) -> usize;

    /// Parameters and buffers by name, and which of them are frozen.
    fn weights(&self) -> &Weights;
}
