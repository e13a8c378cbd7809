//! The labels of embeddings, and what is known beside them.

use super::{
    ColumnNames,
    csv::{read_csv, read_lines},
    extension, npy, refused,
    safetensors::IntegerTensors,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// For each role, the name of its column and its cells as text.
pub(super) type Cells = [Option<(String, Vec<String>)>; 6];

/// A column of names as numbers 0..C.
///
/// The names are in order: by value where all are whole numbers, else by their text. Whole numbers of the same value
/// are one name, the way the first of them is written; `007` and `7` are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Categories {
    /// For each row the place of its name among `names`, `[n]`.
    pub ids: Vec<u32>,
    /// The names, `[C]`.
    pub names: Vec<String>,
}

impl Categories {
    /// Numbers the names of rows, or `None` where there are more of them than a `u32` can number.
    pub fn new(cells: &[impl AsRef<str>]) -> Option<Self> {
        let numbers: Option<Vec<i128>> = cells.iter().map(|cell| cell.as_ref().parse().ok()).collect();
        match numbers {
            Some(numbers) => Self::numbered(&numbers, cells),
            None => Self::numbered(&cells.iter().map(AsRef::as_ref).collect::<Vec<_>>(), cells),
        }
    }

    fn numbered<K: Ord>(keys: &[K], cells: &[impl AsRef<str>]) -> Option<Self> {
        let mut places: BTreeMap<&K, (u32, &str)> = BTreeMap::new();
        for (key, cell) in keys.iter().zip(cells) {
            places.entry(key).or_insert((0, cell.as_ref()));
        }
        u32::try_from(places.len()).ok()?;
        for (id, place) in (0..).zip(places.values_mut()) {
            place.0 = id;
        }
        Some(Self {
            ids: keys.iter().filter_map(|key| places.get(key)).map(|place| place.0).collect(),
            names: places.values().map(|place| place.1.to_owned()).collect(),
        })
    }
}

/// Labels and the columns beside them, one row an embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The classes.
    pub labels: Categories,
    /// The name of each row, often the path of its picture.
    pub ids: Option<Vec<String>>,
    /// The part of the data each row belongs to.
    pub splits: Option<Categories>,
    /// Whether each row is a query.
    pub is_query: Option<Vec<bool>>,
    /// Whether each row is in the gallery.
    pub is_gallery: Option<Vec<bool>>,
    /// The group of each row within its class, such as its camera.
    pub groups: Option<Categories>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.ids.len()
    }

    fn new(path: &Path, cells: Cells) -> Result<Self> {
        let [labels, ids, splits, is_query, is_gallery, groups] = cells;
        let Some(labels) = labels else { return Err(refused(path, "there is no column of labels: add one")) };
        let rows = labels.1.len();
        for (name, cells) in [&ids, &splits, &is_query, &is_gallery, &groups].into_iter().flatten() {
            if cells.len() != rows {
                let (label, length) = (&labels.0, cells.len());
                return Err(refused(
                    path,
                    format!("{name:?} has {length} rows but {label:?} has {rows}: give one value per embedding"),
                ));
            }
        }
        Ok(Self {
            labels: categories(path, labels)?,
            ids: ids.map(|(_, cells)| cells),
            splits: splits.map(|column| categories(path, column)).transpose()?,
            is_query: is_query.map(|column| truths(path, column)).transpose()?,
            is_gallery: is_gallery.map(|column| truths(path, column)).transpose()?,
            groups: groups.map(|column| categories(path, column)).transpose()?,
        })
    }
}

fn categories(path: &Path, (name, cells): (String, Vec<String>)) -> Result<Categories> {
    if let Some(row) = cells.iter().position(String::is_empty) {
        return Err(refused(path, format!("row {}, column {name:?}: the cell is empty: fill it", row + 1)));
    }
    Categories::new(&cells)
        .ok_or_else(|| refused(path, format!("column {name:?} holds more than 2^32 - 1 names: leave some rows out")))
}

fn truths(path: &Path, (name, cells): (String, Vec<String>)) -> Result<Vec<bool>> {
    let truth = |(row, cell): (usize, &String)| match cell.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => {
            Err(refused(path, format!("row {}, column {name:?}: {cell:?} is not true or false: write 1 or 0", row + 1)))
        }
    };
    cells.iter().enumerate().map(truth).collect()
}

/// Opens a table by the ending of the file's name.
///
/// | ending | what is read |
/// |---|---|
/// | `.csv`, `.tsv` | a header, then rows; UTF-8 |
/// | `.txt` | one label a line |
/// | `.npy` | one 1-D array of whole numbers, the labels |
/// | `.safetensors` | 1-D tensors of whole numbers or truth values as columns; a single one is the label; names of [`EmbeddingWriter`](super::EmbeddingWriter) |
/// | `.parquet` | flat columns, with feature `parquet` |
///
/// Errors count rows from 1, without the header.
///
/// # Errors
/// When the file cannot be read or its ending is not known; when the label column is missing, or two columns could be
/// it; when a label, split or group is empty, or a truth value is none.
pub fn open_table(path: impl AsRef<Path>, names: &ColumnNames) -> Result<Table> {
    let path = path.as_ref();
    let cells = match extension(path).as_str() {
        "csv" => read_csv(path, names, b','),
        "tsv" => read_csv(path, names, b'\t'),
        "txt" => read_lines(path, names),
        "npy" => {
            let header = ["label".to_owned()];
            let chosen = names.choose(path, &header)?;
            let numbers = npy::integers(path)?;
            Ok(chosen.map(|place| place.map(|i| (header[i].clone(), texts(&numbers)))))
        }
        "safetensors" => {
            let tensors = IntegerTensors::open(path)?;
            let header = tensors.names();
            let mut names = names.clone();
            if let ([only], None) = (&header[..], &names.label) {
                names.label = Some(only.clone());
            }
            let chosen = names.choose(path, &header)?;
            let mut cells = chosen.map(|place| place.map(|i| (header[i].clone(), texts(&tensors.numbers(i)))));
            if let (Some(i), Some((name, labels))) = (chosen[0], &mut cells[0])
                && name == "labels"
            {
                *labels = tensors.named(path, &tensors.numbers(i))?;
            }
            if cells[1].is_none() {
                cells[1] = tensors.ids().map(|ids| ("ids".to_owned(), ids));
            }
            Ok(cells)
        }
        #[cfg(feature = "parquet")]
        "parquet" => super::parquet::read(path, names),
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            Err(refused(path, "Parquet is read only with the cargo feature `parquet`: build with it, or save .csv"))
        }
        _ => Err(refused(
            path,
            "labels are read from .csv, .tsv, .txt, .npy, .safetensors and .parquet: save one of them",
        )),
    }?;
    Table::new(path, cells)
}

fn texts(numbers: &[i128]) -> Vec<String> {
    numbers.iter().map(i128::to_string).collect()
}
