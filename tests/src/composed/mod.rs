//! Every loss of the registry, composed of candle's tensor operations and differentiated by its autograd.
//!
//! The second opinion on the fused kernels, in any float type, and the contestant that shows what fusing gains. Written
//! as one would without the row driver: scores, masks, where, log-sum-exp. One loss, one file; the formulas stand in
//! `dml-losses`.

mod arc_face;
mod contrastive;
mod cross_entropy;
mod masks;
mod multi_similarity;
mod n_pairs;
mod normalized_softmax;
mod prototypical;
mod proxies;
mod proxy_anchor;
mod proxy_nca;
mod terms;
mod triplet;

use candle_core::Tensor;
use dml_losses::{Context, Error, Objective, Result};
use proxies::WithProxies;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// The composed twin of [`dml_losses::build`]: the same names, parameters and first proxies.
///
/// # Errors
/// As [`dml_losses::build`].
pub fn build(name: &str, params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    // The fused loss checks the parameters and draws the proxies.
    let fused = dml_losses::build(name, params, context)?;
    let loss = Named(name);
    Ok(match name {
        "arc_face" => Box::new(WithProxies::like(fused.as_ref(), loss.parse(params)?, arc_face::loss)?),
        "contrastive" => Box::new(contrastive::Contrastive::new(loss.parse(params)?)?),
        "multi_similarity" => Box::new(multi_similarity::MultiSimilarity(loss.parse(params)?)),
        "n_pairs" => Box::new(n_pairs::NPairs(loss.parse(params)?)),
        "normalized_softmax" => {
            Box::new(WithProxies::like(fused.as_ref(), loss.parse(params)?, normalized_softmax::loss)?)
        }
        "prototypical" => Box::new(prototypical::Prototypical::new(loss.parse(params)?)?),
        "proxy_anchor" => Box::new(WithProxies::like(fused.as_ref(), loss.parse(params)?, proxy_anchor::loss)?),
        "proxy_nca" => Box::new(WithProxies::like(fused.as_ref(), loss.parse(params)?, proxy_nca::loss)?),
        "triplet" => Box::new(triplet::Triplet::new(loss.parse(params)?)?),
        _ => return Err(loss.wrong("it has no composed twin: add tests/src/composed/<name>.rs".to_owned())),
    })
}

/// A loss's name, for messages.
struct Named<'a>(&'a str);

impl Named<'_> {
    fn parse<P: DeserializeOwned + Default>(&self, params: &Value) -> Result<P> {
        if params.is_null() {
            return Ok(P::default());
        }
        serde_json::from_value(params.clone()).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Parameter { loss: self.0.to_owned(), problem }
    }
}

/// A loss of 0 whose gradient is 0: that of a batch without any term.
fn nothing(embeddings: &Tensor) -> Result<Tensor> {
    // Not `* 0.0`: candle's backward pass does not look behind that, so there would be no gradient at all.
    Ok((embeddings * embeddings.zeros_like()?)?.sum_all()?)
}

/// The rows of each class of the batch, in order.
fn rows_of_classes(labels: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        rows.entry(label).or_default().push(i as u32);
    }
    rows
}
