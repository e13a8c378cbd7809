//! The tensors of a file, by what its name ends in, and its fingerprint.

use super::torch;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// All tensors of the file at `path`, by name, on the CPU; those of PyTorch's files in `f32`.
///
/// # Errors
/// When the file is of another kind, cannot be read, or is damaged.
pub fn tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let wrong = |problem: String| Error::Weights { path: path.display().to_string(), problem };
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("safetensors") => {
            let tensors =
                candle_core::safetensors::load(path, &Device::Cpu).map_err(|error| wrong(error.to_string()))?;
            Ok(tensors.into_iter().collect())
        }
        Some("pth" | "pt" | "bin" | "ckpt") => torch::tensors(path),
        _ => {
            Err(wrong("it is of an unknown kind: want .safetensors, or .pth, .pt, .bin or .ckpt of PyTorch".to_owned()))
        }
    }
}

/// The SHA-256 of the file at `path`, as hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        // Of the standard, FIPS 180-2: one block, and a million letters.
        for (text, digest) in [
            ("abc".to_owned(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            std::fs::write(folder.path().join("w"), text).unwrap();
            assert_eq!(sha256(&folder.path().join("w")).unwrap(), digest);
        }
    }
}
