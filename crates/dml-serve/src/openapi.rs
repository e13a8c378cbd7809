//! The description of the service for programs. It is kept by hand; a test compares it with the routes.

use crate::options::Options;
use crate::service::Error;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("openapi.json");

/// The description with what holds for this gallery and these options.
pub(crate) fn document(dim: usize, options: &Options) -> Result<Vec<u8>, Error> {
    let fault = |problem: String| Error::Fault(format!("openapi.json: {problem}"));
    let mut document: Value = serde_json::from_str(DOCUMENT).map_err(|error| fault(error.to_string()))?;
    let mut set = |pointer: &str, value: Value| match document.pointer_mut(pointer) {
        Some(place) => {
            *place = value;
            Ok(())
        }
        None => Err(fault(format!("{pointer} is missing"))),
    };
    set("/info/version", json!(env!("CARGO_PKG_VERSION")))?;
    set("/components/schemas/Embedding/minItems", json!(dim))?;
    set("/components/schemas/Embedding/maxItems", json!(dim))?;
    for many in ["embeddings", "images", "texts"] {
        set(&format!("/components/schemas/Probes/properties/{many}/maxItems"), json!(options.probes))?;
    }
    if options.api_key.is_none() {
        set("/security", json!([]))?;
    }
    serde_json::to_vec(&document).map_err(|error| fault(error.to_string()))
}
