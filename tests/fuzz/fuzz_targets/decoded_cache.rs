//! Caches of decoded images. They are sealed anew, so that what a right seal guards is looked at, too.
#![no_main]

use dml_data::{ByteInputs, CachedImages, Inputs};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// Where the digest stands; what it leaves out are the pixels.
const SEAL: std::ops::Range<usize> = 32..64;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    let _ = seal(&mut bytes);
    if let Ok(cache) = CachedImages::open(dml_fuzz::images(), dml_fuzz::file("x.cache", &bytes)) {
        for index in 0..cache.labels().len() {
            let _ = cache.image(index, None);
        }
    }
});

/// Writes the digest that belongs to `bytes`, if they go far enough to have one.
fn seal(bytes: &mut [u8]) -> Option<()> {
    let described = u32::from_le_bytes(*bytes.get(12..)?.first_chunk()?) as usize;
    let noted = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?) as usize;
    let files = u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?) as usize;
    let table = SEAL.end + described;
    let origin: serde_json::Value = serde_json::from_slice(bytes.get(SEAL.end..table)?).ok()?;
    let rows = (origin.get("samples")?.as_u64()? as usize).checked_add(files)?;
    let pixels = rows.checked_mul(16)?.checked_add(table)?;
    let notes = bytes.len().checked_sub(noted)?;
    let mut hasher = Sha256::new();
    for part in [bytes.get(..SEAL.start)?, bytes.get(SEAL.end..pixels)?, bytes.get(notes..)?] {
        hasher.update(part);
    }
    bytes[SEAL].copy_from_slice(&hasher.finalize());
    Some(())
}
