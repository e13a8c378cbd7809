//! A file that is not whole yet: `<file>.part`.

use crate::growing::{beside, finish, lock_while_moved, locked};
use crate::manifest::Difference;
use crate::{Error, ManifestFile, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A partial file, held by one process at a time.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    len: u64,
}

/// Where the part of `target` lies.
pub(super) fn path_of(target: &Path) -> PathBuf {
    beside(target, ".part")
}

impl Part {
    /// Opens the part of `target`, with what an interrupted fetch left of it. More than `limit` bytes are no such rest.
    pub(super) fn open(target: &Path, limit: u64) -> Result<Self> {
        let path = path_of(target);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(Error::access(folder))?;
        }
        let Some(file) = locked(&path).map_err(Error::access(&path))? else {
            return Err(Error::format(&path, "another process is fetching this file: wait for it or end it"));
        };
        let len = file.metadata().map_err(Error::access(&path))?.len();
        let mut part = Self { path, file, len };
        if len > limit {
            part.restart()?;
        }
        Ok(part)
    }

    /// Bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Empties the part.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::access(&self.path))?;
        self.len = 0;
        Ok(())
    }

    /// Writes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::access(&self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// In what it is not what the manifest says of `file`.
    pub(super) fn difference(&self, file: &ManifestFile) -> Result<Option<Difference>> {
        File::open(&self.path).and_then(|content| file.difference(self.len, content)).map_err(Error::access(&self.path))
    }

    /// Puts the part on the disk and then under its name, so that a crash leaves the one or the other.
    pub(super) fn finish(self, target: &Path) -> Result<()> {
        let Self { path, file, .. } = self;
        finish(file, &path, target, |path, error| Error::access(path)(error))
    }

    /// Removes the part.
    pub(super) fn discard(self) -> Result<()> {
        let Self { path, file, .. } = self;
        let _lock = lock_while_moved(file);
        fs::remove_file(&path).map_err(Error::access(&path))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::growing::is_at;

    #[test]
    fn a_file_that_got_its_name_is_not_at_its_part_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("word.txt");
        let mut part = Part::open(&target, 5).unwrap();
        part.append(b"hello").unwrap();
        // Another process, between its opening of the part and its lock.
        let (path, late) = (part.path.clone(), File::open(&part.path).unwrap());
        assert!(is_at(&late, &path).unwrap() && late.try_lock().is_err());
        part.finish(&target).unwrap();
        assert!(late.try_lock().is_ok() && !is_at(&late, &path).unwrap());
        let next = Part::open(&target, 5).unwrap();
        assert!(!is_at(&late, &path).unwrap(), "a part of the same name is another file");
        next.discard().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"hello");
    }

    #[test]
    fn the_lock_outlives_the_move() {
        let folder = tempfile::tempdir().unwrap();
        let part = Part::open(&folder.path().join("word.txt"), 5).unwrap();
        let late = File::open(&part.path).unwrap();
        let lock = lock_while_moved(part.file);
        assert!(late.try_lock().is_err());
        drop(lock);
        assert!(late.try_lock().is_ok());
    }
}
