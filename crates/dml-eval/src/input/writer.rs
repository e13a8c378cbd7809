//! Embeddings to a file as they come, with what is known of them.

#[cfg(feature = "parquet")]
use super::parquet_lists::ListWriter;
use super::{
    extension, io, refused, texts,
    write::{keep, npy_head, partial, safetensors_head, write_numbers, write_whole},
};
use crate::Result;
use ::safetensors::Dtype;
use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
};
use tempfile::NamedTempFile;

/// What a file of embeddings is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// Tensors `embeddings` (F32, `[n, d]`), `labels` (U32, `[n]`), and as U8 `ids` and `class_names`: UTF-8, each ended by a byte 0.
    Safetensors,
    /// `<f4`, `[n, d]`; columns `id` and `label` in a `.csv` file of the same name beside it.
    Npy,
    /// Columns `id`, `label` and `embedding`, a list of floats. Wants feature `parquet`.
    Parquet,
}

impl EmbeddingFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Safetensors, Self::Npy, Self::Parquet];

    /// What the ending of a file's name says.
    ///
    /// # Errors
    /// When it says none of them.
    pub fn of(path: &Path) -> Result<Self> {
        extension(path).parse().map_err(|_| {
            refused(
                path,
                "embeddings are written as .safetensors, .npy or .parquet: end the name so, or name the format",
            )
        })
    }
}

impl fmt::Display for EmbeddingFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Npy => "npy",
            Self::Parquet => "parquet",
        })
    }
}

impl FromStr for EmbeddingFormat {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("{name:?} is no format of embeddings: use safetensors, npy or parquet"))
    }
}

/// What is known of embeddings before they are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items {
    /// Class of each, an index into `class_names`, `[n]`.
    pub labels: Vec<u32>,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// Name of each, often the path of its picture, `[n]`.
    pub ids: Vec<String>,
}

impl Items {
    /// The name of the class of item `row`.
    pub(super) fn label(&self, row: usize) -> &str {
        &self.class_names[self.labels[row] as usize]
    }

    fn check(&self, path: &Path) -> Result<()> {
        let (n, ids, classes) = (self.labels.len(), self.ids.len(), self.class_names.len());
        if ids != n {
            return Err(refused(path, format!("there are {n} labels but {ids} ids: give one of each per embedding")));
        }
        match self.labels.iter().find(|&&label| label as usize >= classes) {
            Some(label) => Err(refused(path, format!("label {label} has no name: there are {classes}"))),
            None => Ok(()),
        }
    }
}

/// A file of embeddings that grows row by row, and has its name only when it is whole. Dropped before, it leaves nothing.
pub struct EmbeddingWriter {
    path: PathBuf,
    dim: usize,
    items: Items,
    written: usize,
    temporary: NamedTempFile,
    sink: Sink,
}

enum Sink {
    Safetensors(BufWriter<File>),
    Npy(BufWriter<File>),
    #[cfg(feature = "parquet")]
    Parquet(ListWriter),
}

impl EmbeddingWriter {
    /// A file for one embedding of length `dim` per item, which is to be called `path`.
    ///
    /// # Errors
    /// When it cannot be made, items do not fit together, or this build cannot write the format.
    pub fn create(path: &Path, format: EmbeddingFormat, dim: usize, items: Items) -> Result<Self> {
        items.check(path)?;
        let temporary = partial(path)?;
        let file = temporary.as_file().try_clone().map_err(io(path))?;
        let n = items.labels.len();
        let begun = |head: Vec<u8>| {
            let mut out = BufWriter::new(file.try_clone()?);
            out.write_all(&head)?;
            Ok(out)
        };
        let sink = match format {
            EmbeddingFormat::Npy => Sink::Npy(begun(npy_head(n, dim)).map_err(io(path))?),
            EmbeddingFormat::Safetensors => {
                let head = safetensors_head(
                    path,
                    &[
                        ("embeddings", Dtype::F32, vec![n, dim]),
                        ("labels", Dtype::U32, vec![n]),
                        ("ids", Dtype::U8, vec![texts::to_bytes(&items.ids).len()]),
                        ("class_names", Dtype::U8, vec![texts::to_bytes(&items.class_names).len()]),
                    ],
                )?;
                Sink::Safetensors(begun(head).map_err(io(path))?)
            }
            #[cfg(feature = "parquet")]
            EmbeddingFormat::Parquet => Sink::Parquet(ListWriter::begin(path, file, dim)?),
            #[cfg(not(feature = "parquet"))]
            EmbeddingFormat::Parquet => {
                return Err(refused(path, "Parquet is written only with the cargo feature `parquet`: build with it"));
            }
        };
        Ok(Self { path: path.to_owned(), dim, items, written: 0, temporary, sink })
    }

    /// Adds the next rows, `[m, d]` row by row.
    ///
    /// # Errors
    /// When they are no whole rows or more than there are items, or the disk refuses.
    pub fn push(&mut self, rows: &[f32]) -> Result<()> {
        let (path, dim) = (&self.path, self.dim);
        let end = self.written + rows.len() / dim.max(1);
        if dim == 0 || !rows.len().is_multiple_of(dim) || end > self.items.labels.len() {
            let (n, values) = (self.items.labels.len(), rows.len());
            return Err(refused(path, format!("{values} values are no rows of {dim}, or more than {n} rows")));
        }
        match &mut self.sink {
            Sink::Safetensors(out) | Sink::Npy(out) => write_numbers(out, rows).map_err(io(path))?,
            #[cfg(feature = "parquet")]
            Sink::Parquet(out) => out.push(path, rows, &self.items)?,
        }
        self.written = end;
        Ok(())
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// When rows are missing, or the disk refuses.
    pub fn finish(self) -> Result<()> {
        let Self { path, items, written, temporary, sink, .. } = self;
        let n = items.labels.len();
        if written != n {
            return Err(refused(&path, format!("there are {written} embeddings for {n} items: give one for each")));
        }
        match sink {
            Sink::Npy(mut out) => {
                out.flush().map_err(io(&path))?;
                write_table(&path.with_extension("csv"), &items)?;
            }
            Sink::Safetensors(mut out) => {
                let labels: Vec<u8> = items.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
                for bytes in [labels, texts::to_bytes(&items.ids), texts::to_bytes(&items.class_names)] {
                    out.write_all(&bytes).map_err(io(&path))?;
                }
                out.flush().map_err(io(&path))?;
            }
            #[cfg(feature = "parquet")]
            Sink::Parquet(out) => out.finish(&path, &items)?,
        }
        keep(temporary, &path)
    }
}

/// Columns `id` and `label`.
fn write_table(path: &Path, items: &Items) -> Result<()> {
    write_whole(path, |temporary| {
        let fail = |error: ::csv::Error| refused(path, format!("cannot be written: {error}"));
        let mut out = ::csv::Writer::from_writer(temporary.as_file());
        out.write_record(["id", "label"]).map_err(fail)?;
        for (row, id) in items.ids.iter().enumerate() {
            out.write_record([id.as_str(), items.label(row)]).map_err(fail)?;
        }
        out.flush().map_err(io(path))
    })
}
