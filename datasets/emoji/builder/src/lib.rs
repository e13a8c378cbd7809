//! What both builders print.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The manifest's block for the file `name` that was written to `folder`.
pub fn manifest_block(folder: &Path, name: &str) -> Result<String> {
    let bytes = std::fs::read(folder.join(name)).with_context(|| name.to_owned())?;
    let (size, digest) = (bytes.len(), Sha256::digest(&bytes));
    Ok(format!("[[files]]\nname = \"{name}\"\nbytes = {size}\nsha256 = \"{digest:x}\"\n\n"))
}
