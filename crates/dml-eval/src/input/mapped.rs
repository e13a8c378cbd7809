//! A file mapped into memory.

use super::{
    elements::Float,
    io, refused,
    vectors::{Vectors, row_bytes},
};
use crate::Result;
use memmap2::Mmap;
use std::{
    borrow::Cow,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

/// The bytes of a file, brought in by the system as they are touched.
pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(io(path))?;
    // SAFETY: the map is read-only and private to its holder. Another process that changes the file meanwhile
    // changes values or ends this process; the module says that it must not, as for every mapped file.
    unsafe { Mmap::map(&file) }.map_err(io(path))
}

/// Embeddings `[n, d]` in a file: [`VectorFile::npy`], [`VectorFile::safetensors`].
#[derive(Debug)]
pub struct VectorFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Mmap,
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) float: Float,
}

/// Longest row that a file without rows is believed to have: nothing in it bears the number out, and whoever makes room
/// for a row would take it at its word.
const LONGEST_UNSEEN: usize = 1 << 20;

impl VectorFile {
    /// The file, if the length of its rows can be believed.
    pub(super) fn checked(self) -> Result<Self> {
        if self.rows == 0 && self.dim > LONGEST_UNSEEN {
            let problem = format!("there are no rows, of {} values each: save embeddings [n, d]", self.dim);
            return Err(refused(&self.path, problem));
        }
        Ok(self)
    }
}

impl Vectors for VectorFile {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn block(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let bytes = row_bytes(&self.bytes[self.start..], &rows, self.rows, self.dim * self.float.size());
        bytes.map(|bytes| self.float.decode(bytes)).map_err(|problem| refused(&self.path, problem))
    }
}
