//! The text files that say what a data set holds.

use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes of a list: more is a mistake.
const LARGEST: u64 = 1 << 30;

/// A text file; a mark of byte order at its beginning is left out.
pub(super) fn text(path: &Path) -> Result<String> {
    let mut bytes = vec![];
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::format(path, format!("larger than {LARGEST} bytes: is it the right file?")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::format(path, format!("not UTF-8 ({error}): bring the file anew")))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The lines of `text` that are not blank, each with its number, cut into exactly `N` fields at white space.
pub(super) fn fields<'a, const N: usize>(
    path: &'a Path,
    text: &'a str,
    what: &'static str,
) -> impl Iterator<Item = Result<[&'a str; N]>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(move |(number, line)| {
        let mut fields = line.split_whitespace();
        let row = [(); N].map(|()| fields.next().unwrap_or_default());
        match row.last().is_none_or(|last| !last.is_empty()) && fields.next().is_none() {
            true => Ok(row),
            false => Err(Error::format(path, format!("line {}: `{}` is not `{what}`", number + 1, shown(line)))),
        }
    })
}

/// The records of a CSV text with `N` fields each, given to `row` with their line number.
pub(super) fn csv<const N: usize>(
    path: &Path,
    text: &str,
    header: Option<[&str; N]>,
    mut row: impl FnMut(u64, [&str; N]) -> Result<()>,
) -> Result<()> {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut expected = header;
    for record in reader.into_records() {
        let record = record.map_err(|error| Error::format(path, format!("{error}: bring the file anew")))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != N {
            let got = record.len();
            return Err(Error::format(path, format!("line {line}: has {got} fields, not {N}: bring the file anew")));
        }
        let mut fields = record.iter();
        let fields = [(); N].map(|()| fields.next().unwrap_or_default());
        match expected.take() {
            Some(header) if header != fields => {
                let problem =
                    format!("its header is {}, not {}: bring the file anew", fields.join(","), header.join(","));
                return Err(Error::format(path, problem));
            }
            Some(_) => {}
            None => row(line, fields)?,
        }
    }
    Ok(())
}

/// The beginning of a line, for messages.
pub(super) fn shown(line: &str) -> String {
    let mut shown: String = line.chars().take(80).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

/// Finite numbers, e.g. of a box.
pub(super) fn numbers<const N: usize>(path: &Path, texts: [&str; N]) -> Result<[f32; N]> {
    let mut numbers = [0.0; N];
    for (number, text) in numbers.iter_mut().zip(texts) {
        *number =
            text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or_else(|| {
                Error::format(path, format!("`{}` is not a number: bring the file anew", shown(text)))
            })?;
    }
    Ok(numbers)
}

/// The first of `places` below `root` that has the file `name`, and its path.
pub(super) fn find(root: &Path, places: &[&str], name: &str) -> Option<std::path::PathBuf> {
    places.iter().map(|place| root.join(place).join(name)).find(|path| path.exists())
}
