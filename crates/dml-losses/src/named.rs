//! Things that configurations name, with their parameters beside the name: miners and regularisers.

use crate::Result;
use crate::error::setting;
use crate::params::wrong;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// An entry of a registry.
pub(crate) trait Named: 'static {
    /// What such things are called in messages.
    const KIND: &'static str;

    /// Name in configurations.
    fn name(&self) -> &'static str;
}

/// The entry `name`; an error lists those there are.
pub(crate) fn find<S: Named>(all: &'static [S], name: &str) -> Result<&'static S> {
    let known = || all.iter().map(Named::name).collect::<Vec<_>>().join(", ");
    let unknown = || setting(format!("{} {name:?}", S::KIND), format!("unknown: use one of {}", known()));
    all.iter().find(|spec| spec.name() == name).ok_or_else(unknown)
}

/// Parameters from a JSON object, or null for all defaults.
pub(crate) fn parse<P: DeserializeOwned + Default>(name: &str, given: Value) -> Result<P> {
    match given {
        Value::Null => Ok(P::default()),
        Value::Object(_) => serde_json::from_value(given).map_err(|e| wrong(name, e.to_string())),
        other => Err(wrong(name, format!("parameters are {other}: want a table of keys"))),
    }
}

/// The defaults of parameters as JSON.
pub(crate) fn defaults<P: Default + Serialize>() -> Value {
    serde_json::to_value(P::default()).unwrap_or(Value::Null)
}

/// Reads a table with a `name`; what else it holds goes to `make`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, X>(
    kind: &str,
    deserializer: D,
    make: impl FnOnce(&str, Value) -> Result<X>,
) -> std::result::Result<X, D::Error> {
    let mut table: Map<String, Value> = Map::deserialize(deserializer)?;
    let name = table.remove("name").ok_or_else(|| D::Error::custom(format!("a {kind} has no name: give it one")))?;
    let Value::String(name) = name else {
        return Err(D::Error::custom(format!("the name of a {kind} is {name}: want a string")));
    };
    make(&name, Value::Object(table)).map_err(D::Error::custom)
}
