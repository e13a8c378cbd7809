//! Pictures through the encoder of a run folder, prepared as its test images are.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use dml_data::image::{decode, fit_square};
use dml_data::rng::{Purpose, stream};
use dml_data::{Draw, Image, Inputs};
use dml_models::Network;
use dml_train::embedding::embed_images;
use dml_train::trained::Prepared;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "ppm", "pgm", "pbm"];

/// An encoder, and how pictures become its inputs.
pub(super) struct Pictures {
    encoder: Arc<Network>,
    device: Device,
    how: How,
}

/// How a picture becomes an input.
#[derive(Clone)]
pub(super) struct How(Prepared);

impl Pictures {
    /// An encoder of a run that has learned from images, with how those of its test became inputs.
    pub(super) fn of(prepared: Prepared, encoder: Arc<Network>, device: Device) -> Self {
        Self { encoder, device, how: How(prepared) }
    }

    /// What is done to pictures, for a fingerprint.
    pub(super) fn preprocessing(&self) -> Result<String> {
        let Prepared { steps, normalize, shape } = &self.how.0;
        let normalize = serde_json::to_string(normalize)?;
        let steps = match steps {
            Some(steps) => serde_json::to_string(steps)?,
            None => format!("centred square of {}", shape[1]),
        };
        Ok(format!("{steps}; {normalize}"))
    }

    /// The embeddings of picture files.
    pub(super) fn embed_files(&self, files: &[PathBuf]) -> dml_train::Result<Vec<f32>> {
        self.embed_each(files.len(), &|index| self.how.read(&files[index]))
    }

    /// The embeddings of `n` pictures.
    fn embed_each(&self, n: usize, picture: Picture<'_>) -> dml_train::Result<Vec<f32>> {
        let pictures = Read { picture, labels: vec![0; n], names: vec![String::new()], how: &self.how };
        Ok(embed_images(self.encoder.as_ref(), &pictures, &self.device)?.values)
    }

    /// How a picture becomes an input.
    pub(super) fn how(&self) -> &How {
        &self.how
    }

    /// The embeddings of pictures that are decoded.
    pub(super) fn embed_decoded(&self, pictures: &[Image]) -> dml_train::Result<Vec<f32>> {
        self.embed_each(pictures.len(), &|index| Ok(pictures[index].clone()))
    }
}

/// A picture, by its number.
type Picture<'a> = &'a (dyn Fn(usize) -> dml_data::Result<Image> + Sync);

/// Picture files: one, those in a folder, or those in its folders, which are called by whose they are.
pub(super) fn files(input: &Path) -> Result<(Vec<PathBuf>, Option<Vec<String>>)> {
    if !input.is_dir() {
        return Ok((vec![input.to_owned()], None));
    }
    let (mut files, mut labels) = (listed(input, false)?, Vec::new());
    let folders = listed(input, true)?;
    if let (Some(file), Some(_)) = (files.first(), folders.iter().find(|folder| holds_pictures(folder))) {
        bail!(
            "{} holds both pictures and folders of pictures: move {} into the folder of whose it is, or name one of the folders",
            input.display(),
            file.display()
        );
    }
    if files.is_empty() {
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let own = listed(&folder, false)?;
            if own.is_empty() {
                bail!(
                    "{}: a folder without pictures ({}): add some or remove it",
                    folder.display(),
                    ENDINGS.join(", ")
                );
            }
            labels.extend(own.iter().map(|_| name.clone()));
            files.extend(own);
        }
    }
    if files.is_empty() {
        bail!("{} has no pictures ({}): name another folder", input.display(), ENDINGS.join(", "));
    }
    Ok((files, (!labels.is_empty()).then_some(labels)))
}

fn holds_pictures(folder: &Path) -> bool {
    listed(folder, false).is_ok_and(|pictures| !pictures.is_empty())
}

/// Folders or pictures in a folder that are not hidden, sorted.
fn listed(folder: &Path, folders: bool) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot list {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let wanted = if folders { path.is_dir() } else { path.is_file() && ENDINGS.contains(&ending.as_str()) };
        if wanted && !hidden {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl How {
    fn read(&self, path: &Path) -> dml_data::Result<Image> {
        let bytes = fs::read(path).map_err(|source| dml_data::Error::Io { path: path.to_owned(), source })?;
        self.decode(path, &bytes)
    }

    /// The picture in `bytes`, of a file that is called `path`.
    pub(super) fn decode(&self, path: &Path, bytes: &[u8]) -> dml_data::Result<Image> {
        let Prepared { steps, shape, .. } = &self.0;
        match steps {
            // Steps for evaluation draw nothing.
            Some((decoder, steps)) => steps.load(decoder, path, bytes, &mut stream(0, Purpose::Sample, (0, 0))),
            None => fit_square(&decode(path, bytes, shape[0])?, shape[1]),
        }
    }
}

/// Pictures as inputs of an encoder.
struct Read<'a> {
    picture: Picture<'a>,
    labels: Vec<u32>,
    names: Vec<String>,
    how: &'a How,
}

impl Inputs for Read<'_> {
    fn name(&self) -> &str {
        "pictures"
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn class_names(&self) -> &[String] {
        &self.names
    }

    fn shape(&self) -> [usize; 3] {
        self.how.0.shape
    }

    fn check(&self) -> dml_data::Result<()> {
        Ok(())
    }

    fn write(&self, index: usize, _: Option<Draw>, out: &mut [f32]) -> dml_data::Result<()> {
        self.how.0.normalize.write(&(self.picture)(index)?, out)
    }
}
