//! What is not yet whole lies beside its place, and gets its name when it is: a crash leaves the one or the other.

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
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
    fs::rename(part, target).and_then(|()| settle_name(target)).map_err(|error| failed(target, error))
}

/// Puts the name `path` on the disk.
fn settle_name(path: &Path) -> io::Result<()> {
    settle_folder(folder_of(path))
}

/// Puts the names in `folder` on the disk. Windows opens no folders, and does so by itself.
fn settle_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// The folder in which `path` lies.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts all there is in the folder `whole` on the disk and then the folder under the name `target`, so that a crash leaves all of
/// it or nothing.
pub(crate) fn finish_folder(whole: &Path, target: &Path) -> io::Result<()> {
    settle_tree(whole)?;
    fs::rename(whole, target)?;
    settle_name(target)
}

/// Linux has one call for all of a file system. Seen on a virtual disk: 3,000 small files in 0.04 s, where one by one they took 0.9 s; beside
/// a build Omniglot's 2,720 drawings in 0.07 s, where they took 7 s.
#[cfg(target_os = "linux")]
fn settle_tree(folder: &Path) -> io::Result<()> {
    match rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        outcome => outcome,
    }
}

#[cfg(not(target_os = "linux"))]
use settle_each as settle_tree;

/// File by file: no other system has a call that ends when all is on the disk.
#[cfg(any(test, not(target_os = "linux")))]
fn settle_each(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => settle_each(&path)?,
            // Windows wants the right to write.
            false => OpenOptions::new().write(true).open(&path)?.sync_all()?,
        }
    }
    settle_folder(folder)
}

/// The open file, whose lock keeps others away until its path has changed. Windows moves closed files only.
pub(crate) fn lock_while_moved(file: File) -> Option<File> {
    cfg!(unix).then_some(file)
}

/// The file at `path`, made if need be, to append to; no other process has it until it is closed. `None`: another one has it now.
pub(crate) fn locked(path: &Path) -> io::Result<Option<File>> {
    locked_as(path, OpenOptions::new().append(true).create(true))
}

/// As [`locked`], opened as `how` says.
pub(crate) fn locked_as(path: &Path, how: &OpenOptions) -> io::Result<Option<File>> {
    loop {
        let file = how.open(path)?;
        // A file system without locks is no reason to fail.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(None);
        }
        // Another process may have moved or removed the file between the opening and the lock: it is not ours then.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Whether `path` still names `file`.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file keeps its name.
#[cfg(not(unix))]
pub(crate) fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_settled_file_by_file_where_no_call_does_it_at_once() {
        let root = tempfile::tempdir().unwrap();
        let (whole, target) = (root.path().join("x.unpacking"), root.path().join("x"));
        fs::create_dir_all(whole.join("a/b")).unwrap();
        fs::write(whole.join("a/b/1.txt"), "1").unwrap();
        fs::write(whole.join("2.txt"), "2").unwrap();
        settle_each(&whole).unwrap();
        finish_folder(&whole, &target).unwrap();
        assert!(!whole.exists() && fs::read(target.join("a/b/1.txt")).unwrap() == b"1");
        assert!(settle_each(&whole).is_err() && finish_folder(&whole, &target).is_err());
    }
}
