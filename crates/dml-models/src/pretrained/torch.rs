//! Files that PyTorch's `torch.save` wrote: a pickle of names and shapes, and the numbers beside it.
//!
//! Both forms are read: archives (since 1.6) and the one before, in which torchvision publishes. A checkpoint may hold its table of
//! weights under a name, and other things beside it.

use super::pickle::{Place, Value, Values};
use super::stored::{Described, Storage};
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zip::ZipArchive;

/// Under which names checkpoints hold their table, in the order in which they are asked.
const TABLES: [&str; 7] = ["state_dict", "model_state_dict", "model", "net", "network", "backbone", "teacher"];

/// How the form before archives begins: a pickle of this number, and a pickle of the version 1001.
const OLD: [u8; 21] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.', 0x80, 2, b'M', 0xe9, 3, b'.'];

/// Tensors, or what is wrong.
type Tensors = std::result::Result<BTreeMap<String, Tensor>, String>;

/// All tensors of the file at `path`, in `f32`.
pub(super) fn tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    read(path).map_err(|problem| Error::Weights { path: path.display().to_string(), problem })
}

fn read(path: &Path) -> Tensors {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut start = vec![];
    file.by_ref().take(OLD.len() as u64).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if start == OLD {
        return read_old(file);
    }
    if !start.starts_with(b"PK") {
        return Err("it is no file of torch.save: want one, or .safetensors".to_owned());
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    read_archive(file)
}

fn read_archive(file: BufReader<File>) -> Tensors {
    let mut archive = ZipArchive::new(file).map_err(|error| error.to_string())?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let Some(folder) = names.iter().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err("it is an archive without data.pkl: want one of torch.save".to_owned());
    };
    if names.iter().any(|name| name.strip_prefix(folder) == Some("constants.pkl")) {
        return Err("it is a TorchScript program: save its state_dict instead".to_owned());
    }
    let entry = |archive: &mut ZipArchive<BufReader<File>>, name: &str, most: u64| {
        let entry = archive.by_name(&format!("{folder}{name}")).map_err(|error| format!("{name}: {error}"))?;
        let mut bytes = vec![];
        entry.take(most).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        Ok::<_, String>(bytes)
    };
    if names.iter().any(|name| name.strip_prefix(folder) == Some("byteorder"))
        && entry(&mut archive, "byteorder", 16)? != b"little"
    {
        return Err("its numbers are big-endian: save it on another machine".to_owned());
    }
    let pickle = entry(&mut archive, "data.pkl", 1 << 26)?;
    let mut values = Values::default();
    let top = values.read(&mut &pickle[..])?;
    table(&values, top, |storage| entry(&mut archive, &format!("data/{}", storage.key), storage.bytes()?))
}

fn read_old(mut file: BufReader<File>) -> Tensors {
    let mut values = Values::default();
    // What machine it was written on: all machines that there are have the same sizes.
    values.read(&mut file)?;
    let top = values.read(&mut file)?;
    let keys = values.read(&mut file)?;
    let stored: HashMap<&str, Storage<'_>> = (values.all().iter())
        .filter_map(|value| if let Value::Persistent(id) = value { Storage::new(&values, *id).ok() } else { None })
        .map(|storage| (storage.key, storage))
        .collect();
    let Value::List(keys) = values.get(keys) else {
        return Err("it does not list its numbers: bring it anew".to_owned());
    };
    // The storages follow one another in the order of the list, each with its length before it.
    let mut places = HashMap::new();
    for key in keys {
        let Value::Text(key) = values.get(*key) else { return Err("a storage without a name".to_owned()) };
        let storage = stored.get(key.as_str()).ok_or_else(|| format!("storage {key} is nowhere said to be"))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| "it breaks off: bring it anew".to_owned())?;
        if u64::from_le_bytes(length) != storage.numbers {
            return Err(format!("storage {key} has another length than it is said to have: bring it anew"));
        }
        places.insert(key.as_str(), file.stream_position().map_err(|error| error.to_string())?);
        let bytes = i64::try_from(storage.bytes()?).map_err(|error| error.to_string())?;
        file.seek_relative(bytes).map_err(|error| error.to_string())?;
    }
    table(&values, top, |storage| {
        let place = *places.get(storage.key).ok_or_else(|| format!("storage {} is missing", storage.key))?;
        file.seek(SeekFrom::Start(place)).map_err(|error| error.to_string())?;
        let mut bytes = vec![];
        file.by_ref().take(storage.bytes()?).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    })
}

/// The tensors of the table `top`, or of one that it holds.
fn table(
    values: &Values,
    mut top: Place,
    mut numbers: impl FnMut(&Storage<'_>) -> std::result::Result<Vec<u8>, String>,
) -> Tensors {
    // A table in a table in a table, at most.
    for _ in 0..3 {
        let Value::Dict(entries) = values.get(top) else { break };
        let named = entries.iter().filter_map(|&(name, value)| match values.get(name) {
            Value::Text(name) => Some((name.as_str(), value)),
            _ => None,
        });
        let held: Vec<(&str, Place)> = named.collect();
        let within = |table: &&str| held.iter().find(|(name, _)| name == table).map(|(_, place)| *place);
        if let Some(place) = TABLES.iter().filter_map(within).find(|&at| matches!(values.get(at), Value::Dict(_))) {
            top = place;
            continue;
        }
        let mut tensors = BTreeMap::new();
        for &(name, place) in &held {
            let Some(described) = Described::new(values, place).transpose() else { continue };
            let tensor = described.and_then(|described| described.read(&numbers(&described.storage)?));
            tensors.insert(name.to_owned(), tensor.map_err(|problem| format!("{name}: {problem}"))?);
        }
        if tensors.is_empty() {
            let names: Vec<&str> = held.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "it holds {names:?} and no tensors: save a state_dict, alone or under one of {TABLES:?}"
            ));
        }
        return Ok(tensors);
    }
    Err("it holds an object and no table of tensors: save its state_dict".to_owned())
}
