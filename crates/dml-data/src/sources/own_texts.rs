//! One's own texts, named by a table, CSV or TSV: texts with their classes ([`open`]), or pairs of texts ([`pairs`]).
//!
//! | column | holds | where it is missing |
//! |---|---|---|
//! | `text` | the text | it must be there |
//! | `label` | its class, a name or a number | it must be there |
//! | `split` | its part; `val`, `valid` and `dev` are read as `validation` | all are in the part `all` |
//! | `group` | domain, language, …; may be empty | no groups |
//!
//! and of pairs
//!
//! | column | holds | where it is missing |
//! |---|---|---|
//! | `left`, `right` | the texts | they must be there |
//! | `score` | how alike they are, more for more | all have 1 |
//! | `split` | the part | all are in the part `all` |
//!
//! Other columns are passed over; their order is free.

use super::lists::{shown, text};
use crate::{CatalogBuilder, Error, Membership, Result, Strings, TextPairs, Texts};
use std::path::Path;

/// The texts of the table at `path`.
///
/// # Errors
/// When the table cannot be read, a column or a cell is wrong, or a class is in two parts: metric learning is tested on
/// classes that training has not seen.
pub fn open(path: &Path) -> Result<Texts> {
    let mut builder = CatalogBuilder::new(name(path), path, Strings::default());
    rows(path, ["text", "label", "split", "group"], |place, [text, label, split, group]| {
        let text = required(path, place, "text", text)?;
        let class = required(path, place, "label", label)?;
        let group = group.filter(|group| !group.is_empty());
        builder.add(Membership { group, ..Membership::new(class, part(path, place, split)?) }, text)
    })?;
    let texts = builder.finish();
    texts.check_disjoint()?;
    Ok(texts)
}

/// The two texts of a pair and its score.
type Pair = ([String; 2], f32);

/// The pairs of the table at `path`.
///
/// # Errors
/// When the table cannot be read, or a column or a cell is wrong.
pub fn pairs(path: &Path) -> Result<TextPairs> {
    let mut parts: Vec<(String, Vec<Pair>)> = vec![];
    rows(path, ["left", "right", "score", "split"], |place, [left, right, score, split]| {
        let pair = [required(path, place, "left", left)?.to_owned(), required(path, place, "right", right)?.to_owned()];
        let score = match score {
            None => 1.0,
            Some(cell) => cell.parse().ok().filter(|score: &f32| score.is_finite()).ok_or_else(|| {
                Error::format(path, format!("{place}, column score: `{}` is not a finite number", shown(cell)))
            })?,
        };
        let part = part(path, place, split)?;
        match parts.iter_mut().find(|(known, _)| known == part) {
            Some((_, pairs)) => pairs.push((pair, score)),
            None => parts.push((part.to_owned(), vec![(pair, score)])),
        }
        Ok(())
    })?;
    let mut pairs = TextPairs::new(name(path), path);
    for (part, of_part) in &parts {
        for ([left, right], score) in of_part {
            pairs.add(part, [left, right], *score)?;
        }
    }
    Ok(pairs)
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(|| "texts".into(), |stem| stem.to_string_lossy().into_owned())
}

fn required<'a>(path: &Path, place: &str, column: &str, cell: Option<&'a str>) -> Result<&'a str> {
    cell.filter(|cell| !cell.is_empty())
        .ok_or_else(|| Error::format(path, format!("{place}, column {column}: is empty")))
}

fn part<'a>(path: &Path, place: &str, cell: Option<&'a str>) -> Result<&'a str> {
    match cell {
        None => Ok("all"),
        Some("val" | "valid" | "dev") => Ok("validation"),
        some => required(path, place, "split", some),
    }
}

/// Gives each row's cells to `take`, in the order of `columns`, the first two of which must be there, and with the place of
/// the row for messages.
fn rows<const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut take: impl FnMut(&str, [Option<&str>; N]) -> Result<()>,
) -> Result<()> {
    let delimiter = match path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_str() {
        "csv" => b',',
        "tsv" => b'\t',
        _ => return Err(Error::format(path, "tables of texts are read from .csv and .tsv: save one of them")),
    };
    let damaged = |error: csv::Error| Error::format(path, format!("{error}: save the table anew"));
    let text = text(path)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().map_err(damaged)?.iter().map(|name| name.trim().to_owned()).collect();
    let places = columns.map(|column| header.iter().position(|name| name == column));
    if let Some(lacking) = (0..2).find(|&required| places[required].is_none()) {
        let (lacking, there) = (columns[lacking], header.join(", "));
        return Err(Error::format(path, format!("has no column `{lacking}` but {there}: name it in the first row")));
    }
    let mut record = csv::StringRecord::new();
    let mut any = false;
    while reader.read_record(&mut record).map_err(damaged)? {
        let line = record.position().map_or(0, csv::Position::line);
        take(&format!("line {line}"), places.map(|place| place.map(|at| record.get(at).unwrap_or_default().trim())))?;
        any = true;
    }
    if any { Ok(()) } else { Err(Error::format(path, "has no rows: write at least one")) }
}
