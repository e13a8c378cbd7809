//! A checksum in a checkpoint's own header: a run must not go on from what a disk has altered.
//!
//! It is the CRC-32C of the whole file with zeros in place of its own digits, eight hexadecimal ones, in the metadata of safetensors
//! under `crc32c`. Other readers of the format take no notice of it.

use std::collections::HashMap;
use std::ops::Range;

const KEY: &str = "crc32c";
const ZEROS: &str = "00000000";

/// The metadata of a file that is not sealed yet.
pub(super) fn metadata() -> HashMap<String, String> {
    HashMap::from([(KEY.to_owned(), ZEROS.to_owned())])
}

/// Puts the checksum of `bytes` where there is a place for it.
pub(super) fn seal(bytes: &mut [u8]) {
    if let Some(place) = place(bytes) {
        let digits = digits(bytes, &place);
        bytes[place].copy_from_slice(digits.as_bytes());
    }
}

/// Whether `bytes` are what was sealed. Files of older versions have no checksum, and are taken as they are.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    place(bytes).is_none_or(|place| bytes[place.clone()] == *digits(bytes, &place).as_bytes())
}

/// Where the digits lie.
fn place(bytes: &[u8]) -> Option<Range<usize>> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    // No name can look so: its quotes would be escaped.
    let key = format!("\"{KEY}\":\"");
    let start = header.windows(key.len()).position(|window| window == key.as_bytes())? + key.len();
    (start + ZEROS.len() <= header.len()).then(|| length.len() + start..length.len() + start + ZEROS.len())
}

fn digits(bytes: &[u8], place: &Range<usize>) -> String {
    let before = crc32c::crc32c(&bytes[..place.start]);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(before, ZEROS.as_bytes()), &bytes[place.end..]);
    format!("{crc:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn one_altered_bit_anywhere_is_noticed() {
        let tensors = HashMap::from([("a/b".to_owned(), Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap())]);
        let mut bytes = safetensors::serialize(&tensors, Some(metadata())).unwrap();
        assert!(!is_whole(&bytes));
        seal(&mut bytes);
        assert!(is_whole(&bytes));
        let place = place(&bytes).unwrap();
        let key = place.start - KEY.len() - 4..place.start;
        let is_of_header = |at: usize| at < 8 || key.contains(&at);
        // What says where the checksum lies is checked by whoever reads the header.
        for at in (0..bytes.len()).filter(|&at| !is_of_header(at)) {
            let mut altered = bytes.clone();
            altered[at] ^= 4;
            assert!(!is_whole(&altered), "byte {at}");
        }
        let old = safetensors::serialize(&tensors, None).unwrap();
        assert!(is_whole(&old));
    }
}
