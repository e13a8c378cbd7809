//! Pictures through the encoder of a run folder, prepared as its test images are.

use crate::train::{Parent, reopen};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use dml_data::image::{Decoder, Pipeline, Preset, decode, fit_square};
use dml_data::rng::{Purpose, stream};
use dml_data::{Draw, Image, Inputs, Normalize};
use dml_gallery::{Model, sha256_of};
use dml_models::Encoder;
use dml_train::evaluation::embed_images;
use dml_train::run::RunFolder;
use dml_train::{Recipe, Trainer};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Sets of small images that are made of pictures in no way that pictures of others are.
const DRAWN: [&str; 5] = ["mnist", "fashion-mnist", "omniglot-small1", "omniglot-small2", "omniglot-full"];
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "ppm", "pgm", "pbm"];

/// An encoder, and how pictures become its inputs.
pub(crate) struct Encoded {
    run_dir: PathBuf,
    recipe: Recipe,
    trainer: Trainer,
    device: Device,
    how: How,
}

/// How a picture becomes an input.
#[derive(Clone)]
pub(super) struct How {
    /// The steps of image files, or the largest centred square where there are none.
    steps: Option<(Decoder, Pipeline)>,
    normalize: Normalize,
    shape: [usize; 3],
}

/// Embeddings of pictures.
pub(super) struct Found {
    pub(super) values: Vec<f32>,
    pub(super) ids: Vec<String>,
    pub(super) labels: Option<Vec<String>>,
}

impl Encoded {
    pub(crate) fn open(run_dir: &Path, parent: &Parent) -> Result<Self> {
        let device = parent.device()?;
        let (recipe, sets, trainer) = reopen(run_dir, parent.data_dir.as_deref(), &device)?;
        let set = recipe.data.set.as_str();
        if DRAWN.contains(&set) {
            bail!(
                "{} was trained on {set}, whose images are not made of pictures: embed them yourself",
                run_dir.display()
            );
        }
        let steps = match set {
            "emoji" | "folder" => None,
            _ => {
                let eval = recipe
                    .data
                    .eval_transforms
                    .clone()
                    .map_or_else(|| Ok(Preset::named(&recipe.data.preset)?.eval), Ok);
                let eval: Result<Pipeline> = eval;
                Some((recipe.data.decoder, eval?))
            }
        };
        let (Some(images), Some(normalize)) = (sets.still.images(), &sets.normalize) else {
            bail!("{} was trained on {set}, which holds texts: embed pictures with another run", run_dir.display());
        };
        let how = How { steps, normalize: normalize.clone(), shape: images.shape() };
        Ok(Self { run_dir: run_dir.to_owned(), recipe, trainer, device, how })
    }

    /// Fingerprint of the encoder and of what is done to pictures.
    pub(super) fn model(&self) -> Result<Model> {
        let normalize = serde_json::to_string(&self.how.normalize)?;
        let steps = match &self.how.steps {
            Some(steps) => serde_json::to_string(steps)?,
            None => format!("centred square of {}", self.how.shape[1]),
        };
        Ok(Model {
            weights_sha256: Some(weights_of(&self.run_dir)?),
            dim: self.trainer.encoder().dim(),
            metric: self.recipe.metric()?,
            preprocessing: format!("{steps}; {normalize}"),
        })
    }

    /// The embeddings of a picture, of those in a folder, or of those in its folders, which are called by identities.
    pub(super) fn embed(&self, input: &Path) -> Result<Found> {
        /// Pictures between two looks at the bar.
        const CHUNK: usize = 100;
        let (files, labels) = pictures(input)?;
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(files.len() as u64));
        if let Some(bar) = &bar {
            bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {per_sec}, {eta} left")?);
        }
        let mut values = Vec::new();
        for chunk in files.chunks(CHUNK) {
            let how = &self.how;
            values.extend(self.embed_each(chunk.len(), &|index| how.read(&chunk[index]))?);
            if let Some(bar) = &bar {
                bar.inc(chunk.len() as u64);
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let root = if input.is_dir() { input } else { input.parent().unwrap_or(Path::new("")) };
        let id = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).display().to_string();
        Ok(Found { values, ids: files.iter().map(id).collect(), labels })
    }

    /// The embeddings of `n` pictures.
    fn embed_each(&self, n: usize, picture: Picture<'_>) -> dml_train::Result<Vec<f32>> {
        let pictures = Pictures { picture, labels: vec![0; n], names: vec![String::new()], how: &self.how };
        Ok(embed_images(self.trainer.encoder(), &pictures, &self.device)?.values)
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

/// SHA-256 of what a run has learned.
pub(super) fn weights_of(run_dir: &Path) -> Result<String> {
    let weights = RunFolder::existing(run_dir)?.encoder();
    if !weights.exists() {
        bail!("{} does not exist: run dml train to its end first", weights.display());
    }
    Ok(sha256_of(&weights)?)
}

/// A picture, by its number.
type Picture<'a> = &'a (dyn Fn(usize) -> dml_data::Result<Image> + Sync);

/// Picture files, and whose they are where they lie in folders.
fn pictures(input: &Path) -> Result<(Vec<PathBuf>, Option<Vec<String>>)> {
    if !input.is_dir() {
        return Ok((vec![input.to_owned()], None));
    }
    let (mut files, mut labels) = (listed(input, false)?, Vec::new());
    if files.is_empty() {
        for folder in listed(input, true)? {
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
        match &self.steps {
            // Steps for evaluation draw nothing.
            Some((decoder, steps)) => steps.load(decoder, path, bytes, &mut stream(0, Purpose::Sample, (0, 0))),
            None => fit_square(&decode(path, bytes, self.shape[0])?, self.shape[1]),
        }
    }
}

/// Pictures as inputs of an encoder.
struct Pictures<'a> {
    picture: Picture<'a>,
    labels: Vec<u32>,
    names: Vec<String>,
    how: &'a How,
}

impl Inputs for Pictures<'_> {
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
        self.how.shape
    }

    fn check(&self) -> dml_data::Result<()> {
        Ok(())
    }

    fn write(&self, index: usize, _: Option<Draw>, out: &mut [f32]) -> dml_data::Result<()> {
        self.how.normalize.write(&(self.picture)(index)?, out)
    }
}
