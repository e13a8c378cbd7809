//! Parameters of losses: from JSON, checked, with messages that name the loss, the value and the mend.

use crate::{Context, Error, Objective, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::{Debug, Display};

/// The parameters of one loss.
pub trait LossParams: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// Name in the registry.
    const NAME: &'static str;

    /// Refuses values without meaning.
    ///
    /// # Errors
    /// When a value is out of range.
    fn check(&self) -> Result<()>;

    /// The loss.
    ///
    /// # Errors
    /// When parameters and context do not go together.
    fn build(&self, context: &Context) -> Result<Box<dyn Objective>>;

    /// What others set where papers and libraries differ: `pml`, `paper`, `oml`, `tfs`, `insightface` ….
    fn presets() -> Vec<(&'static str, Self)> {
        Vec::new()
    }
}

/// Parameters from a JSON object (null: all defaults): those of `preset` (the defaults if `None`) with the given ones
/// over them.
pub(crate) fn parse<P: LossParams>(preset: Option<&str>, params: &Value) -> Result<P> {
    let base = match preset {
        None => P::default(),
        Some(name) => {
            let presets = P::presets();
            let known = || presets.iter().map(|p| p.0).collect::<Vec<_>>().join(", ");
            let found = presets.iter().find(|p| p.0 == name).map(|p| p.1.clone());
            found.ok_or_else(|| wrong(P::NAME, format!("preset {name:?}: want one of [{}] or none", known())))?
        }
    };
    let mut all = serde_json::to_value(base).map_err(|e| wrong(P::NAME, e.to_string()))?;
    match (params, all.as_object_mut()) {
        (Value::Null, _) => {}
        (Value::Object(given), Some(all)) => {
            all.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        (other, _) => return Err(wrong(P::NAME, format!("parameters are {other}: want a table of keys"))),
    }
    let params: P = serde_json::from_value(all).map_err(|e| wrong(P::NAME, e.to_string()))?;
    params.check()?;
    Ok(params)
}

pub(crate) fn defaults<P: LossParams>() -> Value {
    serde_json::to_value(P::default()).unwrap_or(Value::Null)
}

pub(crate) fn wrong(loss: &str, problem: String) -> Error {
    Error::Parameter { loss: loss.to_owned(), problem }
}

/// Refuses a parameter that is not a positive number.
pub(crate) fn positive(loss: &str, key: &str, value: f64) -> Result<()> {
    let fits = value > 0.0 && value.is_finite();
    if fits { Ok(()) } else { Err(wrong(loss, format!("{key} is {value}: want a number above 0"))) }
}

/// Refuses a parameter below 0, or without bound.
pub(crate) fn not_negative(loss: &str, key: &str, value: f64) -> Result<()> {
    let fits = value >= 0.0 && value.is_finite();
    if fits { Ok(()) } else { Err(wrong(loss, format!("{key} is {value}: want 0 or more"))) }
}

/// Refuses a parameter that is no number.
pub(crate) fn finite(loss: &str, key: &str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(wrong(loss, format!("{key} is {value}: want a finite number"))) }
}

/// Refuses a parameter outside of a closed range.
pub(crate) fn within<N: PartialOrd + Display>(loss: &str, key: &str, value: N, low: N, high: N) -> Result<()> {
    let fits = value >= low && value <= high;
    if fits { Ok(()) } else { Err(wrong(loss, format!("{key} is {value}: want {low} to {high}"))) }
}

/// A metric from its name.
pub(crate) fn metric(loss: &str, name: &str) -> Result<dml_core::Metric> {
    name.parse().map_err(|e: dml_core::Error| wrong(loss, format!("metric: {e}")))
}
