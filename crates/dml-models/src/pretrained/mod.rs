//! Weights from outside: a run's own, or published ones.
//!
//! | where they lie | how they come in |
//! |---|---|
//! | a file of safetensors, or one that PyTorch saved | [`load`], [`load_with`] |
//! | a folder of sentence-transformers | [`from_sentence_transformer`] |
//! | a repository of the Hugging Face hub (feature `hub`) | `from_hub`, `fetch`, `sentence_transformer_from_hub`, then as above |
//!
//! Parameters of this crate have the names of published weights, so most of what happens to a name is that it stays: see [`Names`].
//! Vision transformers come from CLIP's and DINOv2's own files too, and for pictures of another size than their weights were made
//! with: their places are scaled as timm does, bicubically. So do MobileNetV2 and two networks for faces from TensorFlow.js.
//! What happened to each tensor is in the [`Report`].

mod file;
#[cfg(feature = "hub")]
mod hub;
mod hugging_face;
mod names;
mod pickle;
mod places;
mod report;
mod sentence_transformer;
mod stored;
mod tensorflow;
mod torch;
mod vision;

pub use file::{sha256, tensors};
#[cfg(feature = "hub")]
pub use hub::{Fetched, Hub, HubFile, fetch, from_hub};
pub use hugging_face::encoder_config;
pub use names::Names;
pub use report::{Misshapen, Report};
#[cfg(feature = "hub")]
pub use sentence_transformer::sentence_transformer_from_hub;
pub use sentence_transformer::{SentenceFolder, SentenceTransformer, from_sentence_transformer};

use crate::weights::{TEXT, is_of_head};
use crate::{Encoder, Error, Result, Weights};
use candle_core::{Tensor, Var};
use names::Fate;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// How weights are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Whose names the file has. Default: anyone's.
    pub names: Names,
    /// Whether what is named `head.` in the network stays as it was drawn, where the file has it not or in another shape. Default
    /// false: published backbones want it, a run's own file does not.
    pub new_head: bool,
    /// What of a network of two towers the file is for. Default: all of it.
    pub towers: Towers,
}

/// What of a network of two towers is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Towers {
    /// Both, or the only one.
    #[default]
    All,
    /// The one for images, by names as if it stood alone.
    Images,
    /// The one for texts, likewise.
    Texts,
}

impl Towers {
    /// The name as if the tower stood alone; `None`: it is of the other.
    fn own(self, name: &str) -> Option<&str> {
        match (self, name.strip_prefix(TEXT)) {
            (Self::All, _) => Some(name),
            (Self::Images, of_text) => of_text.is_none().then_some(name),
            (Self::Texts, of_text) => of_text,
        }
    }
}

/// Loads every parameter and buffer of `encoder` from the file at `path`, e.g. a run's `encoder.safetensors`.
///
/// # Errors
/// As [`load_with`].
pub fn load(encoder: &dyn Encoder, path: &Path) -> Result<Report> {
    load_with(encoder, path, Loading::default())
}

/// Loads parameters and buffers of `encoder` from the file at `path`: safetensors, or what PyTorch saved (`.pth`, `.pt`, `.bin`,
/// `.ckpt`).
///
/// # Errors
/// When the file cannot be read, or tensors are missing, unexpected or of another shape: all are named, and the encoder is left as
/// it was.
pub fn load_with(encoder: &dyn Encoder, path: &Path, how: Loading) -> Result<Report> {
    let weights = encoder.weights();
    let own = |(name, var): (String, Var)| Some((how.towers.own(&name)?.to_owned(), var));
    let wanted: Vec<(String, Var)> = weights.named().into_iter().filter_map(own).collect();
    let (tensors, mut dropped) = tensorflow::translated(tensors(path)?, how.names)?;
    let (tensors, of_vision) = vision::translated(tensors, how.names, |name| wanted.iter().any(|(of, _)| of == name))?;
    dropped.extend(of_vision);
    let (changes, mut report) = matched(weights, &wanted, tensors, how)?;
    report.dropped.extend(dropped);
    if !report.fits() {
        return Err(Error::Mismatch { path: path.display().to_string(), report: Box::new(report) });
    }
    for (var, tensor) in changes {
        var.set(&tensor)?;
    }
    Ok(report)
}

/// What becomes of the variables `wanted` by the tensors of a file.
fn matched<'a>(
    weights: &Weights,
    wanted: &'a [(String, Var)],
    tensors: BTreeMap<String, Tensor>,
    how: Loading,
) -> Result<(Vec<(&'a Var, Tensor)>, Report)> {
    let vars: HashMap<&str, &Var> = wanted.iter().map(|(name, var)| (name.as_str(), var)).collect();
    let mut report = Report::default();
    let mut found = HashMap::new();
    for (name, tensor) in tensors {
        let target = match how.names.fate(&name, |name| vars.contains_key(name)) {
            Fate::Dropped => {
                report.dropped.push(name);
                continue;
            }
            Fate::Is(target) => target,
        };
        match vars.get(target.as_str()) {
            // Two names of a file may come to be one.
            None => report.unexpected.push(name),
            Some(_) if found.contains_key(&target) => report.unexpected.push(name),
            Some(var) if var.dims() != tensor.dims() && how.new_head && is_of_head(&target) => {
                report.dropped.push(name);
            }
            Some(var) if var.dims() != tensor.dims() => {
                let (file, network) = (tensor.dims().to_vec(), var.dims().to_vec());
                let differs = Misshapen { name: target.clone(), file, network };
                let resampled =
                    weights.grid(&target).map(|grid| places::resampled(&tensor, grid)).transpose()?.flatten();
                match resampled.filter(|tensor| tensor.dims() == var.dims()) {
                    Some(tensor) => {
                        let tensor = tensor.to_dtype(var.dtype())?.to_device(var.device())?;
                        report.resampled.push(differs);
                        found.insert(target, Some((*var, tensor)));
                    }
                    None => {
                        report.misshapen.push(differs);
                        found.insert(target, None);
                    }
                }
            }
            Some(var) => {
                let tensor = tensor.to_dtype(var.dtype())?.to_device(var.device())?.contiguous()?;
                found.insert(target, Some((*var, tensor)));
            }
        }
    }
    let mut changes = Vec::with_capacity(wanted.len());
    for (name, _) in wanted {
        match found.remove(name) {
            Some(Some(change)) => {
                report.loaded.push(name.clone());
                changes.push(change);
            }
            Some(None) => {}
            None if how.new_head && is_of_head(name) => report.new.push(name.clone()),
            None => report.missing.push(name.clone()),
        }
    }
    Ok((changes, report))
}
