//! One's own images, named by a table: CSV, TSV, or Parquet with the feature `parquet`.
//!
//! | column | holds | where it is missing |
//! |---|---|---|
//! | `path` | the image below the table's folder (or the root given), parts separated by `/` | it must be there |
//! | `label` | its class, a name or a number | it must be there |
//! | `split` | its part; `val`, `valid` and `dev` are read as `validation` | all are in the part `all` |
//! | `is_query`, `is_gallery` | `true`, `false`, `1`, `0`, `yes` or `no` | all are both |
//! | `box` | four numbers: left, top, width, height in pixels; may be empty | no boxes |
//! | `group` | camera, super-class, …; may be empty | no groups |
//!
//! Other columns are passed over; their order is free.

#[cfg(feature = "parquet")]
mod parquet;

use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Membership, Result};
use std::path::Path;

/// The columns that are read.
const COLUMNS: [&str; 7] = ["path", "label", "split", "is_query", "is_gallery", "box", "group"];
const PATH: usize = 0;
const LABEL: usize = 1;
const SPLIT: usize = 2;
const IS_QUERY: usize = 3;
const IS_GALLERY: usize = 4;
const BOX: usize = 5;
const GROUP: usize = 6;

/// The set of the table at `path`; images lie below `root`, or below the table's folder.
///
/// # Errors
/// When the table cannot be read, a column or a cell is wrong, or a class is in two parts: metric learning is tested on
/// classes that training has not seen. [`classification`] takes such a split.
pub fn open(path: &Path, root: Option<&Path>) -> Result<Catalog> {
    let catalog = classification(path, root)?;
    catalog.check_disjoint()?;
    Ok(catalog)
}

/// As [`open`], but classes may be in several parts.
///
/// # Errors
/// When the table cannot be read, or a column or a cell is wrong.
pub fn classification(path: &Path, root: Option<&Path>) -> Result<Catalog> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = path.file_stem().map_or_else(|| "table".into(), |stem| stem.to_string_lossy().into_owned());
    let root = root.or(path.parent()).unwrap_or(Path::new(""));
    let mut builder = CatalogBuilder::new(name, path, Files::below(root));
    match ending.as_str() {
        "csv" => read_csv(path, b',', root, &mut builder)?,
        "tsv" => read_csv(path, b'\t', root, &mut builder)?,
        #[cfg(feature = "parquet")]
        "parquet" => parquet::read(path, root, &mut builder)?,
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            let mend = "Parquet is read only with the cargo feature `parquet`: build with it, or save .csv";
            return Err(Error::format(path, mend));
        }
        _ => return Err(Error::format(path, "tables are read from .csv, .tsv and .parquet: save one of them")),
    }
    if builder.is_empty() {
        return Err(Error::format(path, "has no rows: name at least one image"));
    }
    Ok(builder.finish())
}

fn read_csv(path: &Path, delimiter: u8, root: &Path, builder: &mut CatalogBuilder<Files>) -> Result<()> {
    let damaged = |error: csv::Error| Error::format(path, format!("{error}: save the table anew"));
    let text = super::lists::text(path)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().map_err(damaged)?.iter().map(str::to_owned).collect();
    let places = places(path, &header)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(damaged)? {
        let line = record.position().map_or(0, csv::Position::line);
        let cells = places.map(|place| place.map(|place| record.get(place).unwrap_or_default().trim()));
        add(path, &format!("line {line}"), cells, root, builder)?;
    }
    Ok(())
}

/// Where each of [`COLUMNS`] stands in `header`.
fn places(path: &Path, header: &[String]) -> Result<[Option<usize>; 7]> {
    let places = COLUMNS.map(|column| header.iter().position(|name| name.trim() == column));
    for required in [PATH, LABEL] {
        if places[required].is_none() {
            let (lacking, there) = (COLUMNS[required], header.join(", "));
            return Err(Error::format(
                path,
                format!("has no column `{lacking}` but {there}: name it in the first row"),
            ));
        }
    }
    Ok(places)
}

/// Takes one row; `place` names it in messages.
fn add(
    table: &Path,
    place: &str,
    cells: [Option<&str>; 7],
    root: &Path,
    builder: &mut CatalogBuilder<Files>,
) -> Result<()> {
    let wrong = |column: usize, problem: &str| {
        let cell = super::lists::shown(cells[column].unwrap_or_default());
        Error::format(table, format!("{place}, column {}: `{cell}` {problem}", COLUMNS[column]))
    };
    let filled = |column: usize| cells[column].filter(|cell| !cell.is_empty());
    let flag = |column: usize| match cells[column].map(str::to_lowercase).as_deref() {
        None | Some("true" | "1" | "yes") => Ok(true),
        Some("false" | "0" | "no") => Ok(false),
        Some(_) => Err(wrong(column, "is neither true nor false")),
    };
    let given = filled(PATH).ok_or_else(|| wrong(PATH, "is empty"))?;
    // A table of absolute paths is fine as long as they lie below the root.
    let relative = match Path::new(given).strip_prefix(root) {
        Ok(relative) if Path::new(given).is_absolute() => relative.to_str().unwrap_or(given),
        _ => given,
    };
    let part = match cells[SPLIT] {
        None => "all",
        Some("") => return Err(wrong(SPLIT, "is empty")),
        Some("val" | "valid" | "dev") => "validation",
        Some(part) => part,
    };
    let bounding_box = match filled(BOX) {
        Some(text) => Some(bounding_box(text).ok_or_else(|| wrong(BOX, "is not `left top width height`"))?),
        None => None,
    };
    let membership = Membership {
        class: filled(LABEL).ok_or_else(|| wrong(LABEL, "is empty"))?,
        part,
        is_query: flag(IS_QUERY)?,
        is_gallery: flag(IS_GALLERY)?,
        group: filled(GROUP),
    };
    builder
        .add(membership, FileEntry { path: relative, bounding_box, span: None })
        .map_err(|error| wrong(PATH, &format!("cannot be used ({error}): give the root below which all images lie")))
}

/// `10 20 30 40`, also with commas, semicolons or brackets.
fn bounding_box(text: &str) -> Option<[f32; 4]> {
    let numbers = text.split([' ', ',', ';', '[', ']', '(', ')']).filter(|number| !number.is_empty());
    let numbers: Vec<f32> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let &[left, top, width, height] = numbers.as_slice() else { return None };
    let right = [left, top, width, height].iter().all(|number| number.is_finite()) && width > 0.0 && height > 0.0;
    right.then_some([left, top, width, height])
}
