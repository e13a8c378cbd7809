//! Whether a disk has room for what is to come.

use crate::{Error, Result};
use std::path::Path;

/// Refuses `what` if it takes more bytes than the disk of `folder`, which need not exist yet, has free.
pub(crate) fn check(what: &str, needed: u64, folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    // A file system that does not say is no reason to fail.
    match fs4::available_space(there) {
        Ok(free) if free < needed => {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            Err(Error::Invalid(format!(
                "{what} takes {:.1} MB more but {} has {:.1} MB free: make room or choose another folder",
                megabytes(needed),
                there.display(),
                megabytes(free)
            )))
        }
        _ => Ok(()),
    }
}
