//! Steps as short as they are said: `{resize = 256}` for `{resize = {size = 256}}`.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads a `T` from a table of its fields, or from the one value `S` that it is made of.
pub(super) fn table_or<'de, T, S, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + From<S>,
    S: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TableOr(PhantomData))
}

struct TableOr<T, S>(PhantomData<(T, S)>);

impl<'de, T: Deserialize<'de> + From<S>, S: Deserialize<'de>> Visitor<'de> for TableOr<T, S> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a list of numbers, or a table of settings")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        S::deserialize(value.into_deserializer()).map(T::from)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        S::deserialize(value.into_deserializer()).map(T::from)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        S::deserialize(value.into_deserializer()).map(T::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<T, A::Error> {
        S::deserialize(SeqAccessDeserializer::new(values)).map(T::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table))
    }
}
