//! An identity as bytes: all of it in one value, so that there is no half of one.
//!
//! Little-endian: name, metadata (their number, then keys and values), samples (their number, then ids), embeddings `[samples, d]`
//! as `f32`. Texts are their length in bytes as `u32`, then UTF-8.

use crate::plan::Record;
use crate::{Identity, Metadata};

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + record.name.len() + 8 * record.samples.len() + 4 * record.values.len());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    text(&mut bytes, &record.name);
    bytes.extend((record.metadata.len() as u32).to_le_bytes());
    for (key, value) in &record.metadata {
        text(&mut bytes, key);
        text(&mut bytes, value);
    }
    bytes.extend((record.samples.len() as u32).to_le_bytes());
    record.samples.iter().for_each(|sample| bytes.extend(sample.to_le_bytes()));
    record.values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

/// A record of embeddings of length `dim`; `None` where the bytes are none.
pub(super) fn decode(bytes: &[u8], dim: usize) -> Option<Record> {
    let mut values = Vec::new();
    let Identity { name, metadata, samples } = decode_onto(&mut values, bytes, dim)?;
    Some(Record { name, metadata, samples, values })
}

/// The same; the embeddings go behind others.
pub(super) fn decode_onto(values: &mut Vec<f32>, bytes: &[u8], dim: usize) -> Option<Identity> {
    let mut rest = Rest(bytes);
    let name = rest.text()?;
    let mut metadata = Metadata::new();
    for _ in 0..rest.number()? {
        metadata.insert(rest.text()?, rest.text()?);
    }
    let count = rest.number()?;
    let samples = rest.take(count.checked_mul(8)?)?;
    let samples = samples.chunks_exact(8).map(|id| u64::from_le_bytes(id.try_into().unwrap_or_default())).collect();
    let embeddings = rest.take(count.checked_mul(dim)?.checked_mul(4)?)?;
    values.extend(embeddings.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap_or_default())));
    (rest.0.is_empty() && count > 0).then_some(Identity { name, metadata, samples })
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_damage_shows() {
        let metadata = [("site", "north"), ("note", "ü")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let values = vec![1.0, -2.5, f32::MIN_POSITIVE, 0.0, 4.0, 5.0];
        let record = Record { name: "Zoë".to_owned(), metadata, samples: vec![7, u64::MAX], values };
        let bytes = encode(&record);
        assert_eq!(decode(&bytes, 3).as_ref(), Some(&record));
        assert_eq!(decode(&bytes, 2), None);
        (0..bytes.len()).for_each(|end| assert_eq!(decode(&bytes[..end], 3), None, "cut at {end}"));
        assert_eq!(decode(&[&bytes[..], &[0]].concat(), 3), None);
    }
}
