//! Where a recipe's first weights come from: a file, or a repository of the Hugging Face hub.

use crate::{Error, Result};
use dml_models::EncoderConfig;
use dml_models::pretrained::SentenceFolder;
use std::path::{Path, PathBuf};

/// How an address on the hub begins.
const HUB: &str = "hf://";

/// What the sentence encoder says that `model.weights` names: a folder, or a whole repository `hf://OWNER/NAME` or
/// `hf://OWNER/NAME@REVISION`, fetched. `None`: it names none, or a file.
///
/// # Errors
/// When the folder is none of a sentence encoder, the hub does not answer, or this build has no feature `hub`.
pub(crate) fn sentence_folder(model: &EncoderConfig) -> Result<Option<SentenceFolder>> {
    let Some(weights) = &model.weights else { return Ok(None) };
    let folder = match named_repository(weights) {
        None if Path::new(weights).is_dir() => PathBuf::from(weights),
        Some((name, revision)) => repository(&name, revision)?,
        None => return Ok(None),
    };
    Ok(Some(SentenceFolder::read(&folder)?))
}

/// Whether the weights of `model` name a whole repository on the hub, which says its shape.
pub(crate) fn are_a_repository(model: &EncoderConfig) -> bool {
    model.weights.as_deref().and_then(named_repository).is_some()
}

/// Whether the weights of `model` name what is on this machine no more.
pub(crate) fn are_gone(model: &EncoderConfig) -> bool {
    model.weights.as_deref().is_some_and(|weights| !weights.starts_with(HUB) && !Path::new(weights).exists())
}

/// Owner and name, and the revision, of the whole repository that `weights` name.
fn named_repository(weights: &str) -> Option<(String, &str)> {
    let (owner, name) = weights.strip_prefix(HUB)?.split_once('/')?;
    if owner.is_empty() || name.is_empty() || name.contains('/') {
        return None;
    }
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    Some((format!("{owner}/{name}"), revision))
}

/// The file that the weights of `model` name, which the recipe says as `key`, fetched if it is an address `hf://OWNER/NAME/FILE` or
/// `hf://OWNER/NAME@REVISION/FILE`: a branch, a tag or, for what is the same for ever, a commit. Without one it is `main`. Of a
/// sentence encoder it is the file of its folder. `None`: the recipe names none.
///
/// # Errors
/// When the address is not understood, the hub does not answer, or this build has no feature `hub`.
pub(crate) fn locate(model: &EncoderConfig, key: &str) -> Result<Option<PathBuf>> {
    let Some(weights) = &model.weights else { return Ok(None) };
    match sentence_folder(model)? {
        Some(folder) => Ok(Some(folder.weights)),
        None => file(weights, key).map(Some),
    }
}

/// Whether the file at `path` has weights of a tower for texts beside one for images, as a run's own file has them.
pub(crate) fn are_of_two_towers(path: &Path) -> Result<bool> {
    Ok(dml_models::pretrained::tensors(path)?.keys().any(|name| dml_models::is_of_text(name)))
}

/// The commit of the file that `weights` has become, if that is an address on the hub. In the cache that clients of the hub share, a
/// file lies below `snapshots/COMMIT`.
pub(crate) fn commit(weights: &str, file: &Path) -> Option<String> {
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    let at = parts.iter().rposition(|part| part == "snapshots").filter(|_| weights.starts_with(HUB))?;
    Some(parts.get(at + 1)?.to_string())
}

/// As [`locate`], of a single file.
fn file(weights: &str, key: &str) -> Result<PathBuf> {
    let Some(address) = weights.strip_prefix(HUB) else { return Ok(PathBuf::from(weights)) };
    let parts: Vec<&str> = address.splitn(3, '/').collect();
    let [owner, name, file] = parts[..] else {
        return Err(Error::Recipe(format!(
            "{key} is {weights:?}: write {HUB}OWNER/NAME/FILE, {HUB}OWNER/NAME@REVISION/FILE, {HUB}OWNER/NAME of a \
             sentence encoder, or a path"
        )));
    };
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    from_hub(&format!("{owner}/{name}"), revision, file)
}

#[cfg(feature = "hub")]
fn from_hub(repository: &str, revision: &str, file: &str) -> Result<PathBuf> {
    Ok(dml_models::pretrained::from_hub(repository, revision, file)?)
}

#[cfg(feature = "hub")]
fn repository(name: &str, revision: &str) -> Result<PathBuf> {
    use dml_models::pretrained::{Hub, sentence_transformer_from_hub};
    Ok(sentence_transformer_from_hub(&Hub::from_env()?, name, revision)?)
}

#[cfg(not(feature = "hub"))]
fn repository(name: &str, revision: &str) -> Result<PathBuf> {
    from_hub(name, revision, "modules.json")
}

#[cfg(not(feature = "hub"))]
fn from_hub(repository: &str, revision: &str, file: &str) -> Result<PathBuf> {
    Err(Error::Recipe(format!(
        "weights lie on the hub ({repository}@{revision}, {file}) but this build has no feature hub: build with it, or fetch the file"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(weights: &str) -> Result<Option<PathBuf>> {
        let model = EncoderConfig { weights: Some(weights.to_owned()), ..EncoderConfig::default() };
        super::locate(&model, "model.text.weights")
    }

    #[test]
    fn paths_stay_and_half_addresses_are_refused() {
        assert_eq!(locate("runs/a/encoder.safetensors").unwrap(), Some(PathBuf::from("runs/a/encoder.safetensors")));
        let message = locate("hf://owner").unwrap_err().to_string();
        assert!(message.contains("model.text.weights is \"hf://owner\": write hf://OWNER/NAME/FILE"), "{message}");
    }

    #[test]
    fn a_file_of_the_hub_has_a_commit() {
        let cached = Path::new("/snapshots/hub/models--a--b/snapshots/c0ffee/1_Sub/model.safetensors");
        assert_eq!(commit("hf://a/b", cached).as_deref(), Some("c0ffee"));
        assert_eq!((commit("/snapshots/w.pth", cached), commit("hf://a/b", Path::new("w.pth"))), (None, None));
    }

    #[cfg(not(feature = "hub"))]
    #[test]
    fn an_address_may_name_a_revision() {
        let says = |address: &str| locate(address).unwrap_err().to_string();
        assert!(says("hf://owner/name@v1/a/b.bin").contains("owner/name@v1, a/b.bin"));
        assert!(says("hf://owner/name/b.bin").contains("owner/name@main, b.bin"));
        assert!(says("hf://owner/name@v2").contains("owner/name@v2, modules.json"));
    }
}
