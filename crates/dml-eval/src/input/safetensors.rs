//! Tensors in a `.safetensors` file.

use super::{
    elements::{Float, Integer},
    mapped::{VectorFile, map},
    refused, texts,
};
use crate::Result;
use ::safetensors::{Dtype, SafeTensors};
use memmap2::Mmap;
use std::{ops::Range, path::Path};

/// A tensor as the header describes it, its bytes known to lie within the file.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Range<usize>,
}

impl VectorFile {
    /// Maps a `.safetensors` file and finds the tensor of this name, or without a name its only 2-D tensor of floats: F32,
    /// F16, BF16 or F64.
    ///
    /// # Errors
    /// When the file cannot be opened, is no `.safetensors` file or is cut short, there is no such tensor or more than
    /// one to choose from, or the tensor is not `[n, d]`, `d > 0`, of floats.
    pub fn safetensors(path: impl AsRef<Path>, tensor: Option<&str>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = map(path)?;
        let mut entries = entries(path, &bytes)?;
        let listed = listed(&entries);
        entries.retain(|entry| match tensor {
            Some(name) => entry.name == name,
            None => entry.shape.len() == 2 && float(entry.dtype).is_some(),
        });
        let Ok([entry]) = <[Entry; 1]>::try_from(entries) else {
            return Err(refused(
                path,
                match tensor {
                    Some(name) => format!("there is no tensor {name:?}: name one of {listed}"),
                    None => format!("there is not just one 2-D tensor of floats: name one of {listed}"),
                },
            ));
        };
        let Entry { name, dtype, shape, data } = entry;
        let Some(float) = float(dtype) else {
            return Err(refused(
                path,
                format!("tensor {name:?} is of type {dtype}: embeddings are F32, F16, BF16 or F64, save it as F32"),
            ));
        };
        let (rows, dim) = match shape[..] {
            [rows, dim] if dim > 0 => (rows, dim),
            _ => {
                return Err(refused(
                    path,
                    format!("tensor {name:?} is {shape:?}: embeddings are [n, d] with d > 0, name one of {listed}"),
                ));
            }
        };
        Self { path: path.to_owned(), bytes, start: data.start, rows, dim, float }.checked()
    }
}

/// The 1-D tensors of whole numbers and truth values, by name.
pub(super) struct IntegerTensors {
    bytes: Mmap,
    entries: Vec<(Entry, Integer)>,
    /// Of each row.
    ids: Option<Vec<String>>,
    /// Of each number among `labels`.
    class_names: Option<Vec<String>>,
}

impl IntegerTensors {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = map(path)?;
        let all = entries(path, &bytes)?;
        let listed = listed(&all);
        let mut entries: Vec<_> = all
            .into_iter()
            .filter(|entry| entry.shape.len() == 1)
            .filter_map(|entry| integer(entry.dtype).map(|kind| (entry, kind)))
            .collect();
        // What `EmbeddingWriter` writes; other bytes of that name are numbers.
        let mut take = |name: &str| {
            let at = entries.iter().position(|(entry, _)| entry.name == name && entry.dtype == Dtype::U8)?;
            let names = texts::of_bytes(&bytes[entries[at].0.data.clone()])?;
            entries.remove(at);
            Some(names)
        };
        let (ids, class_names) = (take("ids"), take("class_names"));
        if entries.is_empty() {
            return Err(refused(
                path,
                format!("there is no 1-D tensor of whole numbers to take labels from, only {listed}: save one"),
            ));
        }
        Ok(Self { bytes, entries, ids, class_names })
    }

    /// The names of the rows, where they stand beside the numbers.
    pub(super) fn ids(&self) -> Option<Vec<String>> {
        self.ids.clone()
    }

    /// The labels `numbers` as the names that stand beside them, or as they are.
    pub(super) fn named(&self, path: &Path, numbers: &[i128]) -> Result<Vec<String>> {
        let Some(names) = &self.class_names else { return Ok(numbers.iter().map(i128::to_string).collect()) };
        let name = |&number: &i128| {
            let name = usize::try_from(number).ok().and_then(|i| names.get(i));
            name.cloned().ok_or_else(|| {
                let known = names.len();
                refused(path, format!("label {number} has none of the {known} class_names: save one for each class"))
            })
        };
        numbers.iter().map(name).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(entry, _)| entry.name.clone()).collect()
    }

    /// The numbers of tensor `i` of [`Self::names`].
    pub(super) fn numbers(&self, i: usize) -> Vec<i128> {
        let (entry, kind) = &self.entries[i];
        kind.decode(&self.bytes[entry.data.clone()])
    }
}

/// All tensors, by name.
pub(super) fn entries(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>> {
    let broken = |why: String| {
        refused(
            path,
            format!("this is no whole .safetensors file ({why}): copy it again, or write it with safetensors"),
        )
    };
    let (length, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| broken(error.to_string()))?;
    let start = length.checked_add(8).ok_or_else(|| broken("its header has no length".to_owned()))?;
    let mut entries = Vec::new();
    for (name, info) in metadata.tensors() {
        let (from, to) = info.data_offsets;
        let data = start.checked_add(from).zip(start.checked_add(to)).map(|(from, to)| from..to);
        let data = data.filter(|data| bytes.get(data.clone()).is_some());
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |product, &n| product.checked_mul(n));
        let fits = data.filter(|data| Some(data.len()) == bits.map(|bits| bits / 8));
        let data = fits.ok_or_else(|| broken(format!("tensor {name:?} does not fit the file")))?;
        entries.push(Entry { name, dtype: info.dtype, shape: info.shape.clone(), data });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The tensors as an error lists them.
fn listed(entries: &[Entry]) -> String {
    let mut names: Vec<_> =
        entries.iter().take(20).map(|entry| format!("{} {} {:?}", entry.name, entry.dtype, entry.shape)).collect();
    if entries.len() > names.len() {
        names.push(format!("and {} more", entries.len() - names.len()));
    }
    if names.is_empty() { "none, the file is empty".to_owned() } else { names.join(", ") }
}

pub(super) fn float(dtype: Dtype) -> Option<Float> {
    match dtype {
        Dtype::F16 => Some(Float::F16),
        Dtype::BF16 => Some(Float::Bf16),
        Dtype::F32 => Some(Float::F32),
        Dtype::F64 => Some(Float::F64),
        _ => None,
    }
}

pub(super) fn integer(dtype: Dtype) -> Option<Integer> {
    let (size, signed) = match dtype {
        Dtype::BOOL | Dtype::U8 => (1, false),
        Dtype::I8 => (1, true),
        Dtype::U16 => (2, false),
        Dtype::I16 => (2, true),
        Dtype::U32 => (4, false),
        Dtype::I32 => (4, true),
        Dtype::U64 => (8, false),
        Dtype::I64 => (8, true),
        _ => return None,
    };
    Some(Integer { size, signed, big_endian: false })
}
