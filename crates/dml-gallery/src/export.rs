//! A gallery as files that other tools read, and back.
//!
//! A folder of three: `embeddings.safetensors`, the tensor `embeddings` `[samples, d]`; `identities.jsonl`, a line for each
//! identity with its name, its metadata and how many of the rows are its own, in order; `gallery.json`, model, templates and
//! calibration.

use crate::{Calibration, Change, Count, Embeddings, Error, Gallery, Metadata, Model, Result};
use dml_core::Matrix;
use dml_eval::identification::Templates;
use dml_eval::input::{open_vectors, write_safetensors};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

const SETTINGS: &str = "gallery.json";
const IDENTITIES: &str = "identities.jsonl";
const EMBEDDINGS: &str = "embeddings.safetensors";

/// What an export says of its gallery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Whose embeddings they are.
    pub model: Model,
    /// What probes were compared with.
    pub templates: Templates,
    /// What decisions were made by.
    pub calibration: Option<Calibration>,
    /// How many there are.
    pub count: Count,
}

/// An identity in `identities.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(default)]
    metadata: Metadata,
    samples: usize,
}

impl Exported {
    /// What the export in `folder` says of its gallery.
    ///
    /// # Errors
    /// When there is none, or it says something else.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let text = fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| Error::Damaged {
            path,
            problem: format!("this does not describe a gallery ({error}): export it again"),
        })
    }
}

/// Writes all that `gallery` holds at one moment to a new folder, which is there whole or not at all.
///
/// # Errors
/// When there is something of that name, or it cannot be written.
pub fn export(gallery: &(impl Gallery + ?Sized), folder: &Path) -> Result<Count> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    if folder.symlink_metadata().is_ok() {
        return Err(Error::Input(format!("{}: this is there already: name another folder", folder.display())));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".").suffix(".exporting").tempdir_in(parent).map_err(io)?;
    let (mut values, mut count) = (Vec::new(), Count::default());
    {
        let mut lines = BufWriter::new(File::create_new(temporary.path().join(IDENTITIES)).map_err(io)?);
        gallery.for_each(&mut |identity, embeddings| {
            values.extend_from_slice(embeddings);
            count.identities += 1;
            count.samples += identity.samples.len();
            let (name, metadata) = (identity.name.clone(), identity.metadata.clone());
            let line = Line { name, metadata, samples: identity.samples.len() };
            serde_json::to_writer(&mut lines, &line).map_err(|error| io(error.into()))?;
            lines.write_all(b"\n").map_err(io)
        })?;
        lines.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
    }
    let (model, templates) = (gallery.model().clone(), gallery.templates());
    let dim = model.dim;
    let exported = Exported { model, templates, calibration: gallery.calibration()?, count };
    let mut settings = File::create_new(temporary.path().join(SETTINGS)).map_err(io)?;
    serde_json::to_writer_pretty(&mut settings, &exported).map_err(|error| io(error.into()))?;
    settings.sync_all().map_err(io)?;
    write_safetensors(temporary.path().join(EMBEDDINGS), "embeddings", Matrix::new(&values, count.samples, dim)?)?;
    // The name is taken only if it is still free: a folder does not take the place of one that holds something.
    fs::rename(temporary.path(), folder).map_err(io)?;
    let _ = temporary.keep();
    if cfg!(unix) {
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(io)?;
    }
    Ok(count)
}

/// Enrols all that an export holds, or nobody. Samples get new ids; the gallery's own calibration stays.
///
/// # Errors
/// When the export is not whole, is of another model, or as [`Gallery::apply`].
pub fn import(gallery: &(impl Gallery + ?Sized), folder: &Path) -> Result<Count> {
    let exported = Exported::read(folder)?;
    gallery.model().check(&exported.model)?;
    let path = folder.join(IDENTITIES);
    let damaged = |problem: String| Error::Damaged { path: path.clone(), problem };
    let io = |source| Error::Io { path: path.clone(), source };
    let embeddings = open_vectors(folder.join(EMBEDDINGS), Some("embeddings"))?;
    let (rows, dim) = (embeddings.rows(), embeddings.dim());
    if dim != exported.model.dim {
        return Err(damaged(format!(
            "its model has embeddings of length {} but they have {dim}: export again",
            exported.model.dim
        )));
    }
    let values = embeddings.block(0..rows)?;
    let mut lines = Vec::new();
    for (number, line) in BufReader::new(File::open(&path).map_err(io)?).lines().enumerate() {
        let line: Line = serde_json::from_str(&line.map_err(io)?).map_err(|error| {
            damaged(format!("line {} is no identity ({error}): mend it, or export again", number + 1))
        })?;
        lines.push(line);
    }
    let named = lines.iter().try_fold(0usize, |sum, line| sum.checked_add(line.samples));
    if named != Some(rows) || lines.len() != exported.count.identities {
        return Err(damaged(format!(
            "{} identities with {} samples for {} identities and {rows} embeddings: export again",
            lines.len(),
            named.map_or("too many".to_owned(), |named| named.to_string()),
            exported.count.identities
        )));
    }
    let mut first = 0;
    let mut changes = Vec::with_capacity(lines.len());
    for Line { name, metadata, samples } in &lines {
        let own = Matrix::new(&values[first * dim..(first + samples) * dim], *samples, dim)?;
        first += samples;
        let embeddings = Embeddings::new(&exported.model, own);
        changes.push(Change::Enrol { name, embeddings, metadata: metadata.clone() });
    }
    gallery.apply(&changes)?;
    Ok(Count { identities: lines.len(), samples: rows })
}
