//! A file mapped into memory.

use super::io;
use crate::Result;
use memmap2::Mmap;
use std::{fs::File, path::Path};

/// The bytes of a file, brought in by the system as they are touched.
pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(io(path))?;
    // SAFETY: the map is read-only and private to its holder. Another process that changes the file meanwhile
    // changes values or ends this process; the module says that it must not, as for every mapped file.
    unsafe { Mmap::map(&file) }.map_err(io(path))
}
