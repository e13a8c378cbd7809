//! Weights from a local safetensors file or, with feature `hub`, from a Hugging Face repository.

use crate::{Encoder, Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Loads every parameter and buffer of `encoder` from the safetensors file at `path`, e.g. a run's `encoder.safetensors`.
/// Entries under `input.` say how its images were normalised; they are no weights and are passed over.
///
/// # Errors
/// When the file cannot be read, or tensors are missing, unexpected or of another shape: all are listed, and the
/// encoder is left as it was.
pub fn load(encoder: &dyn Encoder, path: &Path) -> Result<()> {
    let weights = |problem: String| Error::Weights { path: path.display().to_string(), problem };
    let mut tensors: HashMap<_, _> =
        candle_core::safetensors::load(path, &candle_core::Device::Cpu).map_err(|e| weights(e.to_string()))?;
    let wanted = encoder.weights().named();
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for (name, var) in &wanted {
        match tensors.remove(name) {
            Some(t) if t.dims() == var.dims() => found.push((var, t)),
            Some(t) => problems.push(format!("{name} is {:?}, model wants {:?}", t.dims(), var.dims())),
            None => problems.push(format!("{name} is missing")),
        }
    }
    let strange = tensors.into_keys().filter(|name| !name.starts_with("input."));
    let mut unexpected: Vec<_> = strange.map(|name| format!("{name} is not in the model")).collect();
    unexpected.sort();
    problems.extend(unexpected);
    if !problems.is_empty() {
        return Err(weights(problems.join("; ")));
    }
    for (var, tensor) in found {
        var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
    }
    Ok(())
}

/// Downloads (or finds in the cache) `file` of the repository `repo` at `revision`, and returns its path.
///
/// # Errors
/// When the hub does not answer and the cache does not hold the file.
#[cfg(feature = "hub")]
pub fn from_hub(repo: &str, revision: &str, file: &str) -> Result<std::path::PathBuf> {
    let what = |e: hf_hub::api::sync::ApiError| Error::Hub(format!("{repo}@{revision}/{file}: {e}"));
    let api = hf_hub::api::sync::ApiBuilder::from_env().with_progress(false).build().map_err(what)?;
    let repo = hf_hub::Repo::with_revision(repo.to_owned(), hf_hub::RepoType::Model, revision.to_owned());
    api.repo(repo).get(file).map_err(what)
}
