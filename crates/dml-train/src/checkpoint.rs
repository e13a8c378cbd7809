//! A run's whole state in one safetensors file, replaced atomically.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that a crash leaves the old file or the new one, never a part. Makes the folder if need be.
///
/// # Errors
/// When the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
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
        Error::file(path, format!("cannot be written: {e}"))
    })
}

/// Saves tensors under `section/name` keys.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, sections: &[(&str, Vec<(String, Tensor)>)]) -> Result<()> {
    let named = sections.iter().flat_map(|(section, tensors)| {
        tensors.iter().map(move |(name, tensor)| (format!("{section}/{name}"), tensor.clone()))
    });
    save_plain(path, named.collect())
}

/// Saves tensors under their names.
///
/// # Errors
/// When the file cannot be written.
pub fn save_plain(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let tensors = tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<HashMap<_, _>>>()?;
    let bytes = safetensors::serialize(&tensors, None).map_err(|e| Error::file(path, e))?;
    write_atomically(path, &bytes)
}

/// The sections of a checkpoint, or nothing when there is none.
///
/// # Errors
/// When the file is there but cannot be read.
pub fn load(path: &Path) -> Result<Option<HashMap<String, HashMap<String, Tensor>>>> {
    if !path.exists() {
        return Ok(None);
    }
    let tensors = candle_core::safetensors::load(path, &Device::Cpu)
        .map_err(|e| Error::file(path, format!("not a whole checkpoint ({e}): remove the run folder to start anew")))?;
    let mut sections: HashMap<String, HashMap<String, Tensor>> = HashMap::new();
    for (key, tensor) in tensors {
        if let Some((section, name)) = key.split_once('/') {
            sections.entry(section.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
    }
    Ok(Some(sections))
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
    }
}
