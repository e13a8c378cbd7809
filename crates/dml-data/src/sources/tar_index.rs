//! Where the files of a tar archive lie in it, so that they are read in place.

use crate::catalog::{LARGEST_SAMPLE, stays_inside};
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file of the archive.
pub(super) struct Entry {
    /// Its name there.
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Its content if `keep` wanted it.
    pub(super) content: Option<Vec<u8>>,
}

/// Most bytes of a file whose content is kept.
const LARGEST_KEPT: u64 = 1 << 16;

/// Gives every file of the archive at `path` to `each`, in order, folders left out. Of those whose name `keep`s, the
/// content comes along.
///
/// # Errors
/// When the archive is damaged or compressed, a name leads out of it, or it holds links or files too large to be a
/// sample.
pub(super) fn visit(path: &Path, keep: impl Fn(&str) -> bool, mut each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::format(path, format!("not a readable plain tar archive ({error}): bring it anew"))
    };
    let file = File::open(path).map_err(Error::io(path))?;
    let whole = file.metadata().map_err(Error::io(path))?.len();
    // No buffer: every header is sought, and a seek would throw it away.
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(|error| damaged(&error))? {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|error| damaged(&error))?;
        let refused = |why: &str| Error::format(path, format!("entry `{name}` {why}: do not use this archive"));
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {}
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            other => return Err(refused(&format!("is not a plain file ({other:?})"))),
        }
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        if !stays_inside(&name) {
            return Err(refused("leads out of it"));
        }
        if bytes > LARGEST_SAMPLE {
            return Err(refused(&format!("has {bytes} bytes, more than {LARGEST_SAMPLE}")));
        }
        if offset.checked_add(bytes).is_none_or(|end| end > whole) {
            return Err(refused("goes beyond the end (truncated)"));
        }
        let content = if keep(&name) {
            let mut content = vec![];
            if bytes > LARGEST_KEPT {
                return Err(refused(&format!(
                    "has {bytes} bytes, more than {LARGEST_KEPT} for what describes a sample"
                )));
            }
            entry.read_to_end(&mut content).map_err(|error| damaged(&error))?;
            Some(content)
        } else {
            None
        };
        each(Entry { name, offset, bytes, content })?;
    }
    Ok(())
}
