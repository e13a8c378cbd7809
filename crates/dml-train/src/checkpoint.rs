//! A run's whole state in one safetensors file, replaced atomically.

mod checksum;
mod writer;

pub use writer::Writer;

use crate::{Error, Result};
use candle_core::{Device, Tensor, Var};
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that a crash leaves the old file or the new one, never a part. Makes the folder if need be.
///
/// # Errors
/// When the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_after(path, bytes, || Ok(()))
}

/// Writes the newest checkpoint to `newest`, with its checksum if it is of [`to_bytes`]; the one there becomes an older one, of which
/// `keep` − 1 stay. Those are moved when the new one is on disk: killed in between, the newest is found as the next older one.
///
/// # Errors
/// When the disk or the folder refuses.
pub fn write_newest(newest: &Path, keep: usize, mut bytes: Vec<u8>) -> Result<()> {
    checksum::seal(&mut bytes);
    write_after(newest, &bytes, || rotate(newest, keep))
}

/// As [`write_atomically`], with `before` between the writing and the renaming.
fn write_after(path: &Path, bytes: &[u8], before: impl FnOnce() -> std::io::Result<()>) -> Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        before()?;
        std::fs::rename(&part, path)?;
        // The rename itself lasts only once the folder is on disk.
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|e: std::io::Error| {
        // Half a file would only keep a full disk full.
        let _ = std::fs::remove_file(&part);
        Error::unwritten(path, &e)
    })
}

/// Saves tensors under `section/name` keys.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, sections: &[(&str, Vec<(String, Tensor)>)]) -> Result<()> {
    let mut bytes = to_bytes(sections)?;
    checksum::seal(&mut bytes);
    write_atomically(path, &bytes)
}

/// The file that [`save`] writes, but for its checksum, which takes a while: a copy of the tensors as they are now.
///
/// # Errors
/// When a tensor cannot be fetched from its device.
pub fn to_bytes(sections: &[(&str, Vec<(String, Tensor)>)]) -> Result<Vec<u8>> {
    let named = sections.iter().flat_map(|(section, tensors)| {
        tensors.iter().map(move |(name, tensor)| (format!("{section}/{name}"), tensor.clone()))
    });
    serialize(named, Some(checksum::metadata()))
}

/// Saves tensors under their names.
///
/// # Errors
/// When the file cannot be written.
pub fn save_plain(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    write_atomically(path, &serialize(tensors, None)?)
}

fn serialize(
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>> {
    let tensors = tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<HashMap<_, _>>>()?;
    safetensors::serialize(&tensors, metadata).map_err(|e| Error::Candle(e.into()))
}

/// Sections, each of named tensors.
pub type Sections = HashMap<String, HashMap<String, Tensor>>;

/// Where the checkpoint that was the newest `age` checkpoints ago lies, beside `newest`.
fn older(newest: &Path, age: usize) -> PathBuf {
    match age {
        0 => newest.to_owned(),
        _ => newest.with_extension(format!("{age}.safetensors")),
    }
}

/// The newest checkpoint at `newest` or beside it that is there, whole or not.
pub fn found(newest: &Path, keep: usize) -> Option<PathBuf> {
    (0..keep.max(1)).map(|age| older(newest, age)).find(|path| path.exists())
}

/// Makes room for a new checkpoint at `newest`. Where one is missing, the older ones stay.
fn rotate(newest: &Path, keep: usize) -> std::io::Result<()> {
    let free = (0..keep).find(|&age| !older(newest, age).exists()).unwrap_or(keep.saturating_sub(1));
    (0..free).rev().try_for_each(|age| std::fs::rename(older(newest, age), older(newest, age + 1)))
}

/// Moves damaged checkpoints that are newer than the newest whole one out of the way, to `*.damaged`: they would take its place
/// when the next one is written.
///
/// # Errors
/// When the folder refuses.
pub fn set_damaged_aside(newest: &Path, keep: usize) -> Result<()> {
    for path in (0..keep.max(1)).map(|age| older(newest, age)) {
        match load(&path) {
            Ok(Some(_)) => break,
            Ok(None) => {}
            Err(_) => {
                std::fs::rename(&path, path.with_extension("safetensors.damaged"))
                    .map_err(|e| Error::file(&path, e))?;
            }
        }
    }
    Ok(())
}

/// The newest checkpoint at `newest` or beside it that can be read, and what is wrong with newer ones; nothing when there is none.
///
/// # Errors
/// When there are checkpoints but none can be read.
pub fn load_newest(newest: &Path, keep: usize) -> Result<Option<(Sections, Option<String>)>> {
    let mut problem: Option<Error> = None;
    for age in 0..keep.max(1) {
        match load(&older(newest, age)) {
            Ok(Some(sections)) => return Ok(Some((sections, problem.map(|problem| problem.to_string())))),
            Ok(None) => {}
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(None), Err)
}

/// The sections of a checkpoint, or nothing when there is none.
///
/// # Errors
/// When the file is there but cannot be read.
pub fn load(path: &Path) -> Result<Option<Sections>> {
    let wrong = |problem: String| {
        Error::file(path, format!("not a whole checkpoint ({problem}): remove the run folder to start anew"))
    };
    let bytes = match std::fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| wrong(e.to_string()))?,
    };
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| wrong(e.to_string()))?;
    if !checksum::is_whole(&bytes) {
        return Err(wrong("its checksum is another, so the disk has altered it".to_owned()));
    }
    let mut sections = Sections::new();
    for (key, tensor) in tensors {
        if let Some((section, name)) = key.split_once('/') {
            sections.entry(section.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
    }
    Ok(Some(sections))
}

/// Sets `vars` from `tensors`; the name of the first that does not fit otherwise.
pub(crate) fn restore(vars: &[(String, Var)], tensors: &HashMap<String, Tensor>) -> std::result::Result<(), String> {
    for (name, var) in vars {
        let tensor = tensors.get(name).ok_or_else(|| name.clone())?;
        tensor.to_device(var.device()).and_then(|t| var.set(&t)).map_err(|_| name.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusal_of_a_truncated_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        assert!(load(&path).unwrap().is_none());
        let tensor = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        save(&path, &[("model", vec![("a.b".to_owned(), tensor)])]).unwrap();
        let back = load(&path).unwrap().unwrap();
        assert_eq!(back["model"]["a.b"].to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("remove the run folder"));
        let mut altered = bytes.clone();
        *altered.last_mut().unwrap() ^= 1;
        std::fs::write(&path, altered).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("the disk has altered it"));
    }

    #[test]
    fn an_older_checkpoint_stands_in_for_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let tensor = |value: f32| Tensor::new(&[value], &Device::Cpu).unwrap();
        let write = |value: f32| {
            let bytes = to_bytes(&[("trainer", vec![("step".to_owned(), tensor(value))])]).unwrap();
            write_newest(&path, 3, bytes).unwrap();
        };
        [1.0, 2.0, 3.0, 4.0].into_iter().for_each(write);
        let newest = |path: &Path| {
            let (sections, problem) = load_newest(path, 3).unwrap().unwrap();
            (sections["trainer"]["step"].to_vec1::<f32>().unwrap()[0], problem)
        };
        assert_eq!(newest(&path), (4.0, None));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        std::fs::write(&path, b"broken").unwrap();
        let (value, problem) = newest(&path);
        assert!(value == 3.0 && problem.unwrap().contains("checkpoint.safetensors"));
        set_damaged_aside(&path, 3).unwrap();
        assert_eq!(newest(&path), (3.0, None));
        assert_eq!(std::fs::read(path.with_extension("safetensors.damaged")).unwrap(), b"broken");
        // The next ones push out no whole one that is newer than what stays.
        write(5.0);
        assert_eq!(load(&older(&path, 1)).unwrap().unwrap()["trainer"]["step"].to_vec1::<f32>().unwrap(), [3.0]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(newest(&path), (3.0, None));
        for age in 1..3 {
            std::fs::write(older(&path, age), b"broken").unwrap();
        }
        assert!(load_newest(&path, 3).is_err());
    }
}
