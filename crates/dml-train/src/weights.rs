//! Where a recipe's first weights come from: a file, or a repository of the Hugging Face hub.

use crate::{Error, Result};
use std::path::PathBuf;

/// How an address on the hub begins.
const HUB: &str = "hf://";

/// The file that `model.weights` names, fetched if it is an address `hf://OWNER/NAME/FILE` or `hf://OWNER/NAME@REVISION/FILE`: a
/// branch, a tag or, for what is the same for ever, a commit. Without one it is `main`.
///
/// # Errors
/// When the address is not understood, the hub does not answer, or this build has no feature `hub`.
pub(crate) fn locate(weights: &str) -> Result<PathBuf> {
    let Some(address) = weights.strip_prefix(HUB) else { return Ok(PathBuf::from(weights)) };
    let parts: Vec<&str> = address.splitn(3, '/').collect();
    let [owner, name, file] = parts[..] else {
        return Err(Error::Recipe(format!(
            "model.weights is {weights:?}: write {HUB}OWNER/NAME/FILE, {HUB}OWNER/NAME@REVISION/FILE, or a path"
        )));
    };
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    from_hub(&format!("{owner}/{name}"), revision, file)
}

#[cfg(feature = "hub")]
fn from_hub(repository: &str, revision: &str, file: &str) -> Result<PathBuf> {
    Ok(dml_models::pretrained::from_hub(repository, revision, file)?)
}

#[cfg(not(feature = "hub"))]
fn from_hub(repository: &str, revision: &str, file: &str) -> Result<PathBuf> {
    Err(Error::Recipe(format!(
        "model.weights lies on the hub ({repository}@{revision}, {file}) but this build has no feature hub: build with it, or fetch the file"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_and_half_addresses_are_refused() {
        assert_eq!(locate("runs/a/encoder.safetensors").unwrap(), PathBuf::from("runs/a/encoder.safetensors"));
        assert!(locate("hf://owner/name").unwrap_err().to_string().contains("OWNER/NAME/FILE"));
    }

    #[cfg(not(feature = "hub"))]
    #[test]
    fn an_address_may_name_a_revision() {
        let says = |address: &str| locate(address).unwrap_err().to_string();
        assert!(says("hf://owner/name@v1/a/b.bin").contains("owner/name@v1, a/b.bin"));
        assert!(says("hf://owner/name/b.bin").contains("owner/name@main, b.bin"));
    }
}
