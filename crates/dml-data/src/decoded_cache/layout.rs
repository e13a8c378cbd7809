//! The file of a cache, little-endian throughout:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `DMLIMAGE` |
//! | 4 | version |
//! | 4 | length of the description |
//! | 8 | length of the notes |
//! | 8 | number of files |
//! | 32 | SHA-256 of all but the pixels |
//! | | description: what the images were made of, JSON |
//! | 16 a sample | where its pixels begin (8), its height (4) and width (4); 0 × 0 for one that could not be read |
//! | 16 a file | what each file that holds samples was when it was read: its length (8) and when it was last modified (8) |
//! | | pixels, `[height, width, channels]` of one sample after the other |
//! | | notes: what could not be read and why, JSON |
//!
//! Images of one size and of many have the same layout.

use super::stamps::{self, Stamp};
use crate::image::{Decoder, Pipeline};
use crate::inputs::FileImages;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Debug;

const MAGIC: &[u8; 8] = b"DMLIMAGE";

/// To be raised, too, when a decoder or a step comes to give other pixels.
const VERSION: u32 = 2;

/// Bytes before the digest, and with it.
const UNSEALED: usize = 32;
const HEAD: usize = UNSEALED + 32;

/// Bytes that the table has for a sample.
const ROW: usize = 16;

/// What the images of a cache were made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    pub(super) set: String,
    pub(super) samples: usize,
    /// Digest of the catalogue's paths, boxes and places in archives.
    pub(super) entries: String,
    pub(super) decoder: Decoder,
    /// The steps behind the images.
    pub(super) transforms: Pipeline,
}

impl Origin {
    /// Of a cache of `images`.
    pub(super) fn of(images: &FileImages) -> Self {
        let catalog = images.catalog();
        Self {
            set: catalog.name().to_owned(),
            samples: catalog.len(),
            entries: catalog.entries_digest(),
            decoder: images.decoder,
            transforms: Pipeline { steps: images.pipeline.still().to_vec() },
        }
    }

    /// In what images made of this are not `wanted`. They may have fewer steps behind them.
    pub(super) fn difference(&self, wanted: &Self) -> Option<String> {
        let (found, steps) = (self, |pipeline: &Pipeline| format!("{:?}", pipeline.steps));
        let differ = |what: &str, found: &dyn Debug, wanted: &dyn Debug| {
            Some(format!("is a cache of images of {what} {found:?}, but wanted is {wanted:?}"))
        };
        if found.set != wanted.set {
            differ("the set", &found.set, &wanted.set)
        } else if found.samples != wanted.samples {
            differ("a set whose number of samples is", &found.samples, &wanted.samples)
        } else if found.entries != wanted.entries {
            differ("files whose paths, boxes and order have the digest", &found.entries, &wanted.entries)
        } else if found.decoder != wanted.decoder {
            differ("the decoder", &found.decoder, &wanted.decoder)
        } else if !wanted.transforms.steps.starts_with(&found.transforms.steps) {
            let (found, wanted) = (steps(&found.transforms), steps(&wanted.transforms));
            Some(format!(
                "is a cache of images after the steps {found}, but the pipeline's steps that draw nothing are {wanted}"
            ))
        } else {
            None
        }
    }
}

/// Where the pixels of a sample lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) height: u32,
    pub(super) width: u32,
}

impl Place {
    /// The byte behind the pixels.
    pub(super) fn end(self, channels: usize) -> Option<u64> {
        let pixels = u64::from(self.height) * u64::from(self.width);
        pixels.checked_mul(channels as u64)?.checked_add(self.offset)
    }

    /// What the table of a file says of sample `index`.
    fn read(table: &[u8], index: usize) -> Self {
        let row = &table[index * ROW..(index + 1) * ROW];
        Self { offset: number(&row[..8]), height: number(&row[8..12]) as u32, width: number(&row[12..]) as u32 }
    }
}

/// A sample that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub(super) index: usize,
    pub(super) path: String,
    pub(super) problem: String,
}

/// What a file holds, found to be whole.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) origin: Origin,
    pub(super) unreadable: BTreeMap<usize, Note>,
    /// Where the table begins, then the stamps of the files, then the pixels.
    table: usize,
    stamps: usize,
    pixels: usize,
}

impl Contents {
    /// Takes a file apart. Nothing is believed of it: every row of the table is checked.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let broken = |what: &str| format!("is no whole cache of decoded images ({what})");
        let Some(head) = bytes.first_chunk::<HEAD>().filter(|head| head.starts_with(MAGIC)) else {
            return Err("is no cache of decoded images".into());
        };
        let version = number(&head[8..12]);
        if version != u64::from(VERSION) {
            return Err(format!("is a cache of version {version}, but this program makes and reads {VERSION}"));
        }
        let [described, noted, files] = [&head[12..16], &head[16..24], &head[24..32]].map(number);
        let described = described as usize;
        let table = HEAD + described;
        let description = bytes.get(HEAD..table).ok_or_else(|| broken("it is cut off"))?;
        let origin: Origin = serde_json::from_slice(description).map_err(|error| broken(&error.to_string()))?;
        let stamps = origin.samples.checked_mul(ROW).and_then(|rows| rows.checked_add(table));
        let stamped = usize::try_from(files).ok().and_then(|files| files.checked_mul(stamps::ROW));
        let pixels = stamps.zip(stamped).and_then(|(stamps, stamped)| stamps.checked_add(stamped));
        let notes = usize::try_from(noted).ok().and_then(|noted| bytes.len().checked_sub(noted));
        let ends = stamps.zip(pixels).zip(notes).filter(|((_, pixels), notes)| pixels <= notes);
        let Some(((stamps, pixels), notes)) = ends else {
            return Err(broken("it is cut off"));
        };
        if seal(&bytes[..pixels], &bytes[notes..]) != head[UNSEALED..] {
            return Err(broken("it is cut off or damaged"));
        }
        let unreadable: Vec<Note> =
            serde_json::from_slice(&bytes[notes..]).map_err(|error| broken(&error.to_string()))?;
        let unreadable = unreadable.into_iter().map(|note| (note.index, note)).collect();
        let contents = Self { origin, unreadable, table, stamps, pixels };
        match contents.fills(&bytes[table..stamps], pixels as u64..notes as u64) {
            true => Ok(contents),
            false => Err(broken("its table does not fit its pixels")),
        }
    }

    /// Whether the places of the table follow each other from the first of `pixels` to the last.
    fn fills(&self, table: &[u8], pixels: std::ops::Range<u64>) -> bool {
        let follows = |end: u64, index: usize| {
            let place = Place::read(table, index);
            let empty = place.height == 0 || place.width == 0;
            let fits = place.offset == end && empty == self.unreadable.contains_key(&index);
            place.end(self.origin.decoder.channels).filter(|_| fits)
        };
        (0..self.origin.samples).try_fold(pixels.start, follows) == Some(pixels.end)
    }

    /// What the files were, [`stamps::ROW`] bytes each, in the file `bytes` that this was read from.
    pub(super) fn stamps<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.stamps..self.pixels]
    }

    /// The pixels of sample `index` of the file `bytes` that this was read from, and their place.
    pub(super) fn image<'a>(&self, bytes: &'a [u8], index: usize) -> Option<(Place, &'a [u8])> {
        if index >= self.origin.samples {
            return None;
        }
        let place = Place::read(&bytes[self.table..], index);
        let end = place.end(self.origin.decoder.channels)?;
        Some((place, bytes.get(place.offset as usize..end as usize)?))
    }
}

/// What the images of a cache of version 1 were made of, which had no stamps, nor their number in its head.
pub(super) fn of_version_1(bytes: &[u8]) -> Option<Origin> {
    let head = bytes.first_chunk::<56>().filter(|head| head.starts_with(MAGIC) && number(&head[8..12]) == 1)?;
    let description = bytes[head.len()..].get(..number(&head[12..16]) as usize)?;
    serde_json::from_slice(description).ok()
}

/// How many bytes come before the pixels.
pub(super) fn pixels_start(description: &[u8], samples: usize, files: usize) -> u64 {
    (HEAD + description.len() + samples * ROW + files * stamps::ROW) as u64
}

/// What comes before the pixels.
pub(super) fn front(description: &[u8], places: &[Place], stamps: &[Stamp], notes: &[u8]) -> Result<Vec<u8>> {
    let described = u32::try_from(description.len())
        .map_err(|_| Error::Invalid("the set's name and the pipeline take more than 4 GiB: shorten them".into()))?;
    let mut front = MAGIC.to_vec();
    front.extend(VERSION.to_le_bytes());
    front.extend(described.to_le_bytes());
    front.extend((notes.len() as u64).to_le_bytes());
    front.extend((stamps.len() as u64).to_le_bytes());
    front.extend([0; HEAD - UNSEALED]);
    front.extend(description);
    for place in places {
        front.extend(place.offset.to_le_bytes());
        front.extend(place.height.to_le_bytes());
        front.extend(place.width.to_le_bytes());
    }
    front.extend(stamps.iter().flat_map(|stamp| stamp.to_bytes()));
    let seal = seal(&front, notes);
    front[UNSEALED..HEAD].copy_from_slice(&seal);
    Ok(front)
}

/// The digest of what comes before the pixels, itself left out, and of what comes after.
fn seal(front: &[u8], notes: &[u8]) -> [u8; HEAD - UNSEALED] {
    let mut hasher = Sha256::new();
    for part in [&front[..UNSEALED], &front[HEAD..], notes] {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// An unsigned number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMPS: [Stamp; 2] = [Stamp { bytes: 7, modified: -1 }, Stamp { bytes: 8, modified: i64::MAX }];

    fn file(samples: usize, channels: usize, places: &[Place], notes: &[u8], pixels: usize) -> Vec<u8> {
        let (set, entries, decoder) = (String::new(), String::new(), Decoder { channels, ..Decoder::default() });
        let origin = Origin { set, samples, entries, decoder, transforms: Pipeline::default() };
        let front = front(&serde_json::to_vec(&origin).unwrap(), places, &STAMPS, notes).unwrap();
        [&front[..], &vec![9; pixels], notes].concat()
    }

    /// The places of images of these sides, the first at `start`.
    fn places(mut start: u64, channels: usize, sides: &[(u32, u32)]) -> Vec<Place> {
        let place = |&(height, width): &(u32, u32)| {
            let place = Place { offset: start, height, width };
            start = place.end(channels).unwrap();
            place
        };
        sides.iter().map(place).collect()
    }

    fn start(samples: usize, channels: usize) -> u64 {
        (file(samples, channels, &[], b"", 0).len() + samples * ROW) as u64
    }

    #[test]
    fn every_image_is_where_the_table_says() {
        let places = places(start(3, 3), 3, &[(2, 5), (0, 0), (1, 1)]);
        let note = br#"[{"index": 1, "path": "a.png", "problem": "cut off"}]"#;
        let bytes = file(3, 3, &places, note, 33);
        let contents = Contents::read(&bytes).unwrap();
        let lengths = |index| contents.image(&bytes, index).map(|(place, pixels)| (place, pixels.len()));
        assert_eq!([0, 1, 2].map(lengths), [(0, 30), (1, 0), (2, 3)].map(|(at, length)| Some((places[at], length))));
        assert_eq!((lengths(3), contents.unreadable[&1].path.as_str()), (None, "a.png"));
        assert_eq!(contents.stamps(&bytes), STAMPS.map(Stamp::to_bytes).concat());
        // A sealed file is not believed either: pixels too few and too many, an image that is missing without a note.
        for bytes in [file(3, 3, &places, note, 32), file(3, 3, &places, note, 34), file(3, 3, &places, b"[]", 33)] {
            assert!(Contents::read(&bytes).unwrap_err().contains("its table does not fit its pixels"));
        }
        for samples in [2, 4, usize::MAX, usize::MAX / ROW] {
            assert!(Contents::read(&file(samples, 3, &places, note, 33)).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_sealed_table_makes_it_panic(
            rows in prop::collection::vec((prop_oneof![0u64..600, any::<u64>()], prop_oneof![0u32..4, any::<u32>()], prop_oneof![0u32..4, any::<u32>()]), 0..4),
            channels in prop::sample::select(vec![0, 1, 3, usize::MAX]), pixels in 0usize..40,
        ) {
            let places: Vec<Place> =
                rows.into_iter().map(|(offset, height, width)| Place { offset, height, width }).collect();
            let bytes = file(places.len(), channels, &places, b"[]", pixels);
            if let Ok(contents) = Contents::read(&bytes) {
                prop_assert!((0..places.len()).all(|index| contents.image(&bytes, index).is_some()));
            }
        }
    }
}
