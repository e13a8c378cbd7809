//! An index in a file: what usearch writes, and behind it what it is of.
//!
//! | bytes | what |
//! |---|---|
//! | … | the graph and its vectors, as usearch writes them; its own programs read them here |
//! | … | metric, rows, length and options, as JSON |
//! | 32 | SHA-256 of all before |
//! | 8 | number of bytes of the JSON, little-endian |
//! | 8 | `DMLANN01` |
//!
//! usearch follows what it reads without looking, so damage must show before: hence the digest.

use super::{Approximate, ApproximateOptions, searchers};
use crate::Result;
use crate::input::{io, refused, write_whole};
use crate::search::Index;
use dml_core::Metric;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"DMLANN01";
/// Digest, length and magic.
const END: usize = 48;

#[derive(Serialize, Deserialize)]
struct About {
    metric: String,
    rows: usize,
    dim: usize,
    options: ApproximateOptions,
}

impl Approximate {
    /// Writes the index to `path`, in the place of a file of that name: whole, or not at all.
    ///
    /// # Errors
    /// When the file cannot be written, or the name of its folder is not UTF-8.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let about =
            About { metric: self.metric.to_string(), rows: self.rows(), dim: self.dim(), options: self.options };
        let about = serde_json::to_vec(&about).map_err(|e| refused(path, format!("cannot be described: {e}")))?;
        write_whole(path, |temporary| {
            self.graph.save(utf8(temporary.path())?).map_err(|e| refused(path, format!("cannot be written: {e}")))?;
            let mut file = temporary.as_file();
            let written = file.metadata().map_err(io(path))?.len();
            if written != self.graph.serialized_length() as u64 {
                let want = self.graph.serialized_length();
                return Err(refused(path, format!("{written} of {want} bytes were written: is the disk full?")));
            }
            let mut digest = Sha256::new();
            hash(path, &mut file, written, &mut digest)?;
            digest.update(&about);
            let tail = [&about[..], &digest.finalize()[..], &(about.len() as u64).to_le_bytes(), MAGIC].concat();
            file.write_all(&tail).map_err(io(path))
        })
    }

    /// Reads the index that [`save`](Self::save) wrote, of a gallery of vectors of length `dim`, compared by `metric`.
    ///
    /// The digest shows damage, not malice: open an index only from where you would take a program.
    ///
    /// # Errors
    /// When the file cannot be read, is no such index, is damaged, or is one of another metric or length.
    pub fn open(path: impl AsRef<Path>, metric: Metric, dim: usize) -> Result<Self> {
        let path = path.as_ref();
        let about = read_about(path)?;
        if about.metric != metric.to_string() || about.dim != dim {
            return Err(refused(
                path,
                format!(
                    "is an index by {} over vectors of length {}, but {metric} over {dim} was asked for: build it anew",
                    about.metric, about.dim
                ),
            ));
        }
        let index = Self::empty(metric, dim, about.rows, about.options)?;
        index.graph.load(utf8(path)?).map_err(|e| refused(path, format!("cannot be read ({e}): build it anew")))?;
        let held = (index.rows(), index.dim(), index.graph.metric_kind());
        if held != (about.rows, dim, super::kind(metric)?) {
            return Err(refused(path, "holds another graph than it says: build it anew"));
        }
        index.reserve(about.rows, searchers())?;
        Ok(index)
    }
}

/// What a file says it is of, once all of it has been found undamaged.
fn read_about(path: &Path) -> Result<About> {
    let foreign = || refused(path, "is no approximate index, or not all of one: build it anew");
    let mut file = File::open(path).map_err(io(path))?;
    let length = file.metadata().map_err(io(path))?.len();
    let body = length.checked_sub(END as u64).ok_or_else(foreign)?;
    let mut end = [0; END];
    file.seek(SeekFrom::Start(body)).and_then(|_| file.read_exact(&mut end)).map_err(io(path))?;
    let (digest, rest) = end.split_at(32);
    let (size, magic) = rest.split_at(8);
    let size = size.try_into().map(u64::from_le_bytes).map_err(|_| foreign())?;
    let graph = body.checked_sub(size).filter(|_| magic == MAGIC).ok_or_else(foreign)?;
    file.rewind().map_err(io(path))?;
    let mut found = Sha256::new();
    hash(path, &mut &file, graph, &mut found)?;
    let mut about = Vec::new();
    (&file).take(size).read_to_end(&mut about).map_err(io(path))?;
    found.update(&about);
    if found.finalize()[..] != *digest {
        return Err(refused(path, "is damaged: its digest does not fit; build it anew"));
    }
    serde_json::from_slice(&about).map_err(|e| refused(path, format!("is described by what is not known ({e})")))
}

/// The next `length` bytes into a digest.
fn hash(path: &Path, file: &mut &File, length: u64, digest: &mut Sha256) -> Result<()> {
    let mut rest = file.take(length);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match rest.read(&mut buffer).map_err(io(path))? {
            0 => return Ok(()),
            count => digest.update(&buffer[..count]),
        }
    }
}

/// The only names that the graph library takes.
fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| refused(path, "is not a name in UTF-8: rename it"))
}
