//! Identities beside each other in one value of the file: a gallery of a million is then some thousands of values, which are
//! written, checked and read at the speed of the disk.
//!
//! Little-endian, for each identity by rising number: its number as `u64`, the length of its [`record`](super::record) in bytes as
//! `u32`, and the record. A block is kept under the number of its first identity.

use super::record;
use crate::plan::Record;
use crate::roster::Key;

/// Bytes that a block does not go beyond, unless one identity alone does: it then fills a page of 64 KiB.
const FULL: usize = (64 << 10) - 256;
/// Of the number and the length.
const HEAD: usize = 12;

/// Blocks of identities that come by rising number.
#[derive(Default)]
pub(super) struct Packer {
    first: Key,
    bytes: Vec<u8>,
}

impl Packer {
    /// Adds an identity; the block that it had no room in.
    pub(super) fn add(&mut self, key: Key, record: &[u8]) -> Option<(Key, Vec<u8>)> {
        let full = self.bytes.len() + HEAD + record.len() > FULL;
        let done = full.then(|| self.take()).flatten();
        if self.bytes.is_empty() {
            self.first = key;
            self.bytes.reserve(FULL.max(HEAD + record.len()));
        }
        self.bytes.extend(key.to_le_bytes());
        self.bytes.extend((record.len() as u32).to_le_bytes());
        self.bytes.extend(record);
        done
    }

    /// The last block, if there is one.
    pub(super) fn take(&mut self) -> Option<(Key, Vec<u8>)> {
        (!self.bytes.is_empty()).then(|| (self.first, std::mem::take(&mut self.bytes)))
    }
}

/// The identities of a block: their numbers and records. What is no block ends with `None`.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = Option<(Key, &[u8])>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = take(&mut rest);
        if taken.is_none() {
            rest = &[];
        }
        Some(taken)
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<(Key, &'a [u8])> {
    let (head, others) = rest.split_at_checked(HEAD)?;
    let (key, length) = head.split_at(8);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (record, others) = others.split_at_checked(length)?;
    *rest = others;
    Some((Key::from_le_bytes(key.try_into().ok()?), record))
}

/// The decoded identities of a block; `None` where the bytes are none.
pub(super) fn decode(bytes: &[u8], dim: usize) -> Option<Vec<(Key, Record)>> {
    records(bytes).map(|taken| taken.and_then(|(key, bytes)| Some((key, record::decode(bytes, dim)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metadata;

    fn record(i: u64, samples: u64) -> Record {
        let values = (0..3 * samples).map(|v| v as f32).collect();
        Record { name: format!("{i}"), metadata: Metadata::new(), samples: (0..samples).collect(), values }
    }

    #[test]
    fn identities_come_back_and_damage_shows() {
        // The second is larger than a block.
        let all: Vec<(Key, Record)> =
            [(3, 1), (5, 4000), (6, 2), (9, 700), (10, 1)].map(|(i, n)| (i, record(i, n))).into();
        let (mut packer, mut blocks) = (Packer::default(), Vec::new());
        all.iter().for_each(|(key, record)| blocks.extend(packer.add(*key, &record::encode(record))));
        blocks.extend(packer.take());
        assert_eq!(blocks.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [3, 5, 6]);
        let back: Vec<_> = blocks.iter().flat_map(|(_, bytes)| decode(bytes, 3).unwrap()).collect();
        assert_eq!(back, all);
        let bytes = &blocks[2].1;
        // Cut between two identities, it is a block of fewer.
        for end in (1..bytes.len()).step_by(97) {
            let cut = records(&bytes[..end]).last().unwrap();
            let ends = records(bytes)
                .flatten()
                .any(|(_, record)| record.as_ptr_range().end == bytes[..end].as_ptr_range().end);
            assert_eq!(cut.is_none(), !ends, "cut at {end}");
        }
    }
}
