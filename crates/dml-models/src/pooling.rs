//! Features to one vector for each input.

use crate::backbone::Features;
use crate::layer::{Scope, Start};
use crate::ops::{Pool, PoolWindow, global_mean, pool2d};
use crate::weights::Parameter;
use crate::{Error, Result};
use candle_core::{D, DType, IndexOp, Tensor};
use serde::{Deserialize, Serialize};

/// How maps or tokens become one vector. Tokens that are padding never count. Of an image transformer's, but for
/// [`Cls`](Self::Cls), only those of patches do, as in timm and as DINOv2 is used: class and registers are no places of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// What the network was made for: the mean of maps, the first token of image transformers, the mean of a text's tokens.
    #[default]
    Default,
    /// The mean of all places (GAP) or tokens.
    Mean,
    /// The largest of all places (GMP) or tokens.
    Max,
    /// Mean and largest, added.
    MeanMax,
    /// `(mean(max(x, 1e-6)^p))^{1/p}` of maps with a learned `p`, at first 3 (Radenović et al., *Fine-tuning CNN Image Retrieval
    /// with No Human Annotation*, 2018, eq. 3).
    Gem,
    /// The first token, of an image transformer the class token.
    Cls,
    /// The sum of the tokens by the square root of their number.
    MeanSqrtLen,
    /// The mean of the tokens weighted by their place, from 1: the last counts most. Those that do not count have places, too.
    WeightedMean,
    /// The last token.
    Last,
}

/// Below it, features count as this much in a generalised mean.
const GEM_FLOOR: f64 = 1e-6;

/// A pooling with its weight, if it has one.
pub(crate) struct Pooled {
    pooling: Pooling,
    power: Option<Parameter>,
}

impl Pooled {
    /// `default` is what [`Pooling::Default`] stands for.
    pub(crate) fn new(scope: &Scope<'_>, pooling: Pooling, default: Pooling) -> Result<Self> {
        let pooling = if pooling == Pooling::Default { default } else { pooling };
        let power = (pooling == Pooling::Gem).then(|| scope.parameter("p", &[1], Start::Value(3.0))).transpose()?;
        Ok(Self { pooling, power })
    }

    /// `[n, c]`.
    pub(crate) fn forward(&self, features: &Features) -> Result<Tensor> {
        match features {
            Features::Vectors(vectors) => Ok(vectors.clone()),
            Features::Map(map) => self.of_map(map),
            Features::Tokens { values, mask } => self.of_tokens(values, mask.as_ref()),
        }
    }

    fn unfit(&self, of: &str) -> Error {
        Error::Config(format!("head.pooling = {:?} is not for {of}: choose another", self.pooling))
    }

    fn of_map(&self, map: &Tensor) -> Result<Tensor> {
        match self.pooling {
            Pooling::Mean | Pooling::Default => Ok(global_mean(map)?),
            Pooling::Max => largest(map),
            Pooling::MeanMax => Ok((global_mean(map)? + largest(map)?)?),
            Pooling::Gem => {
                let p = self.power.as_ref().ok_or_else(|| self.unfit("maps"))?.tensor();
                // x^p = e^{p·ln x}, so that p has a gradient. Below the floor x has none.
                let raised = ((map - GEM_FLOOR)?.relu()? + GEM_FLOOR)?.log()?.broadcast_mul(&p)?.exp()?;
                Ok(global_mean(&raised)?.log()?.broadcast_div(&p)?.exp()?)
            }
            Pooling::Cls | Pooling::MeanSqrtLen | Pooling::WeightedMean | Pooling::Last => Err(self.unfit("maps")),
        }
    }

    fn of_tokens(&self, values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (n, t, _) = values.dims3()?;
        let mask = match mask {
            Some(mask) => mask.to_dtype(values.dtype())?,
            None => Tensor::ones((n, t), values.dtype(), values.device())?,
        };
        let weighted =
            |weights: &Tensor| -> Result<Tensor> { Ok(values.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)?) };
        // A text without a token gives zeros, not NaN.
        let count = |weights: &Tensor| -> Result<Tensor> { Ok(weights.sum_keepdim(1)?.maximum(1e-9)?) };
        match self.pooling {
            Pooling::Mean => Ok(weighted(&mask)?.broadcast_div(&count(&mask)?)?),
            Pooling::MeanSqrtLen => Ok(weighted(&mask)?.broadcast_div(&count(&mask)?.sqrt()?)?),
            Pooling::WeightedMean => {
                let places = Tensor::arange(1u32, t as u32 + 1, values.device())?.to_dtype(values.dtype())?;
                let weights = mask.broadcast_mul(&places.unsqueeze(0)?)?;
                Ok(weighted(&weights)?.broadcast_div(&count(&weights)?)?)
            }
            Pooling::Max => Ok(hidden(values, &mask)?.max(1)?),
            Pooling::Cls | Pooling::Default => Ok(values.i((.., 0))?),
            Pooling::Last => {
                let places = Tensor::arange(1u32, t as u32 + 1, values.device())?.to_dtype(values.dtype())?;
                let last = mask.broadcast_mul(&places.unsqueeze(0)?)?;
                let is_last = last.broadcast_eq(&last.max_keepdim(D::Minus1)?)?.to_dtype(values.dtype())?;
                weighted(&is_last.mul(&mask)?)
            }
            Pooling::MeanMax | Pooling::Gem => Err(self.unfit("tokens")),
        }
    }
}

/// Padding far below everything.
fn hidden(values: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
    let below = ((mask - 1.0)? * 1e9)?.to_dtype(DType::F32)?.to_dtype(values.dtype())?;
    values.broadcast_mul(&mask.unsqueeze(2)?)?.broadcast_add(&below.unsqueeze(2)?)
}

/// The largest number of each plane; of equal ones the first has the gradient.
fn largest(map: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = map.dims4()?;
    // As rows, so that one window of any shape is the whole plane.
    let rows = map.reshape((n, c, 1, h * w))?;
    if h == w {
        let window = PoolWindow { side: h, stride: h, padding: 0, partial: false };
        return Ok(pool2d(map, Pool::Max, window)?.reshape((n, c))?);
    }
    Ok(rows.max(3)?.reshape((n, c))?)
}
