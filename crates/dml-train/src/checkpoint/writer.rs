//! Checkpoints that are written while training goes on.

use super::write_newest;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// Writes checkpoints on a thread of its own, one at a time: a disk takes longer than the copy of the state that it is given.
/// Dropped, it waits for what is being written.
#[derive(Default)]
pub struct Writer(Option<Writing>);

struct Writing {
    step: u64,
    path: PathBuf,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    /// Begins to write the state `bytes` after `step` to `path`; older checkpoints stay beside it, `keep` in all. Waits for the one
    /// before, and gives its step if nobody has been told.
    ///
    /// # Errors
    /// When the one before could not be written, or no thread can be had.
    pub fn begin(&mut self, step: u64, path: &Path, keep: usize, bytes: Vec<u8>) -> Result<Option<u64>> {
        let before = self.finish()?;
        let to = path.to_owned();
        let write = move || write_newest(&to, keep, bytes);
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(write);
        let thread = thread.map_err(|e| Error::file(path, format!("no thread to write it: {e}")))?;
        self.0 = Some(Writing { step, path: path.to_owned(), thread });
        Ok(before)
    }

    /// The step of a checkpoint that has got to the disk since this was last asked.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn written(&mut self) -> Result<Option<u64>> {
        match &self.0 {
            Some(writing) if writing.thread.is_finished() => self.finish(),
            _ => Ok(None),
        }
    }

    /// As [`Writer::written`], and waits for it.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn finish(&mut self) -> Result<Option<u64>> {
        let Some(Writing { step, path, thread }) = self.0.take() else { return Ok(None) };
        match thread.join() {
            Ok(written) => written.map(|()| Some(step)),
            Err(_) => Err(Error::file(&path, "the thread that wrote it panicked")),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever drops it has another error to tell.
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_written_in_their_order_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let mut writer = Writer::default();
        let told: Vec<Option<u64>> =
            (1..=3).map(|step| writer.begin(step, &path, 2, vec![step as u8; 1 << 20]).unwrap()).collect();
        assert_eq!(told, [None, Some(1), Some(2)]);
        while writer.written().unwrap() != Some(3) {
            thread::yield_now();
        }
        assert_eq!((writer.written().unwrap(), writer.finish().unwrap()), (None, None));
        assert_eq!(std::fs::read(&path).unwrap()[0], 3);
        assert_eq!(std::fs::read(path.with_extension("1.safetensors")).unwrap()[0], 2);
        drop(writer.begin(4, &path, 2, vec![4; 1 << 20]));
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), vec![4; 1 << 20], "dropped before it was written");
    }

    #[test]
    fn what_the_disk_says_is_told_at_the_next_occasion() {
        let folder = tempfile::tempdir().unwrap();
        let no_folder = folder.path().join("a-file");
        std::fs::write(&no_folder, "").unwrap();
        let mut writer = Writer::default();
        writer.begin(1, &no_folder.join("checkpoint.safetensors"), 1, vec![0]).unwrap();
        let error = writer.begin(2, &folder.path().join("c"), 1, vec![0]).unwrap_err().to_string();
        assert!(error.contains("checkpoint.safetensors") && error.contains("cannot be written"), "{error}");
        assert_eq!(writer.finish().unwrap(), None, "the second was not begun");
    }
}
