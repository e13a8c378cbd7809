//! Parameters from JSON, with messages that name the loss.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) fn parse<P: DeserializeOwned>(loss: &str, params: &Value) -> Result<P> {
    let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params.clone() };
    serde_json::from_value(params).map_err(|e| wrong(loss, e.to_string()))
}

pub(crate) fn defaults<P: Default + Serialize>() -> Value {
    serde_json::to_value(P::default()).unwrap_or(Value::Null)
}

pub(crate) fn wrong(loss: &str, problem: String) -> Error {
    Error::Parameter { loss: loss.to_owned(), problem }
}

/// Refuses a parameter that is not a positive number.
pub(crate) fn positive(loss: &str, key: &str, value: f32) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(wrong(loss, format!("{key} is {value}: want a number above 0")))
}
