//! ArcFace, with the cosine of the shifted angle by the addition theorem.

use super::cross_entropy::cross_entropy;
use super::masks::Masks;
use candle_core::Tensor;
use dml_core::{Metric, pairwise};
use dml_losses::Result;
use dml_losses::proxy::arc_face::ArcFaceParams;

pub(super) fn loss(params: &ArcFaceParams, embeddings: &Tensor, proxies: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let cosines = pairwise(Metric::Cosine, embeddings, proxies)?;
    let classes: Vec<u32> = (0..proxies.dim(0)? as u32).collect();
    let target = Masks::between(labels, &classes, embeddings.device())?.positive;
    let at_target = cosines.gather(&Tensor::new(labels, embeddings.device())?.unsqueeze(1)?, 1)?;
    let shifted = with_margin(params, &at_target)?.broadcast_as(cosines.shape())?;
    let logits = (target.where_cond(&shifted, &cosines)? * f64::from(params.scale))?;
    cross_entropy(&logits, labels)
}

/// `cos(θ + m)` of cosines `c`, and `c − m·sin m` where `θ + m` would pass π.
fn with_margin(params: &ArcFaceParams, cosines: &Tensor) -> Result<Tensor> {
    let margin = f64::from(params.margin).to_radians();
    // The root's slope has no bound at ±1.
    let inside = cosines.clamp(-1.0 + 1e-7, 1.0 - 1e-7)?;
    let sines = (inside.sqr()?.neg()? + 1.0)?.sqrt()?;
    let shifted = ((&inside * margin.cos())? - (sines * margin.sin())?)?;
    let beyond = (cosines - margin * margin.sin())?;
    Ok(cosines.ge(-margin.cos())?.where_cond(&shifted, &beyond)?)
}
