//! Tables of labels as text.

use super::{ColumnNames, io, labels::Cells, refused};
use crate::Result;
use std::{fs::File, path::Path};

/// The chosen columns of a table with a header, cells trimmed.
pub(super) fn read_csv(path: &Path, names: &ColumnNames, delimiter: u8) -> Result<Cells> {
    let broken = |error: ::csv::Error| match error.into_kind() {
        ::csv::ErrorKind::Io(source) => io(path)(source),
        ::csv::ErrorKind::Utf8 { pos, err } => refused(
            path,
            format!(
                "line {}, field {}: the text is not UTF-8: save it as UTF-8",
                pos.map_or(1, |p| p.line()),
                err.field() + 1
            ),
        ),
        ::csv::ErrorKind::UnequalLengths { pos, expected_len, len } => refused(
            path,
            format!(
                "line {} has {len} fields but the header has {expected_len}: quote fields that hold the separator",
                pos.map_or(1, |p| p.line())
            ),
        ),
        kind => refused(path, format!("the table cannot be read ({kind:?}): save it again")),
    };
    let file = File::open(path).map_err(io(path))?;
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter).trim(::csv::Trim::All).from_reader(file);
    let header: Vec<String> =
        reader.headers().map_err(broken)?.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    let chosen = names.choose(path, &header)?;
    let mut cells: Cells = chosen.map(|place| place.map(|i| (header[i].clone(), Vec::new())));
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        for (place, cells) in chosen.iter().zip(&mut cells) {
            if let (Some(i), Some((_, cells))) = (place, cells) {
                cells.push(record.get(*i).unwrap_or_default().to_owned());
            }
        }
    }
    Ok(cells)
}

/// Plain text: one label a line, nothing else.
pub(super) fn read_lines(path: &Path, names: &ColumnNames) -> Result<Cells> {
    let bytes = std::fs::read(path).map_err(io(path))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        refused(path, format!("line {line}: the text is not UTF-8: save it as UTF-8"))
    })?;
    let name = "label".to_owned();
    names.choose(path, std::slice::from_ref(&name))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).collect();
    Ok([Some((name, lines)), None, None, None, None, None])
}
