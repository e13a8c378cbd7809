//! The tensors of a file, by what its name ends in.

use super::torch;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
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
