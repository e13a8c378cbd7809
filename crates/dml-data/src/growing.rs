//! What is not yet whole lies beside its place, and gets its name when it is: a crash leaves the one or the other.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// `path` with `ending` behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Puts the open file at `part` on the disk and then under the name `target`; `failed` says what of a path and the system's
/// word for it.
pub(crate) fn finish(file: File, part: &Path, target: &Path, failed: fn(&Path, io::Error) -> Error) -> Result<()> {
    file.sync_all().map_err(|error| failed(part, error))?;
    let _lock = lock_while_moved(file);
    fs::rename(part, target).map_err(|error| failed(target, error))?;
    if cfg!(unix) {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, error))?;
    }
    Ok(())
}

/// The open file, whose lock keeps others away until its path has changed. Windows moves closed files only.
pub(crate) fn lock_while_moved(file: File) -> Option<File> {
    cfg!(unix).then_some(file)
}
