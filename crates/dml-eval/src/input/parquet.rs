//! Tables of labels in Parquet files.

use super::{ColumnNames, io, labels::Cells, refused};
use crate::Result;
use ::parquet::{
    basic::Repetition,
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

/// The chosen columns among those that hold one value a row.
pub(super) fn read(path: &Path, names: &ColumnNames) -> Result<Cells> {
    let file = File::open(path).map_err(io(path))?;
    // The reader trusts what it is told: a damaged file can make it panic.
    catch_unwind(AssertUnwindSafe(|| columns(path, file, names)))
        .unwrap_or_else(|_| Err(refused(path, "the file is damaged: write it again")))
}

fn columns(path: &Path, file: File, names: &ColumnNames) -> Result<Cells> {
    let broken = |error| refused(path, format!("the table cannot be read ({error}): write it again"));
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema();
    let flat = |field: &&Arc<Type>| {
        let info = field.get_basic_info();
        field.is_primitive() && !(info.has_repetition() && info.repetition() == Repetition::REPEATED)
    };
    let fields: Vec<_> = schema.get_fields().iter().filter(flat).cloned().collect();
    let header: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let chosen = names.choose(path, &header)?;

    let mut wanted: Vec<usize> = chosen.iter().flatten().copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let projected = wanted.iter().filter_map(|&i| fields.get(i).cloned()).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(projected).build().map_err(broken)?;
    let mut texts: Vec<Vec<String>> = vec![Vec::new(); wanted.len()];
    for (row, record) in reader.get_row_iter(Some(projection)).map_err(broken)?.enumerate() {
        let record: Row = record.map_err(broken)?;
        for ((name, field), texts) in record.get_column_iter().zip(&mut texts) {
            let text =
                text(field).map_err(|problem| refused(path, format!("row {}, column {name:?}: {problem}", row + 1)))?;
            texts.push(text);
        }
    }
    Ok(chosen.map(|place| {
        let i = place?;
        let at = wanted.iter().position(|&w| w == i)?;
        Some((header.get(i)?.clone(), texts.get(at)?.clone()))
    }))
}

/// A value as text; an absent one is empty.
fn text(field: &Field) -> std::result::Result<String, String> {
    Ok(match field {
        Field::Null => String::new(),
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        Field::Str(value) => value.trim().to_owned(),
        Field::Bytes(value) => match str::from_utf8(value.data()) {
            Ok(value) => value.trim().to_owned(),
            Err(_) => return Err("the bytes are not UTF-8: save text".to_owned()),
        },
        other => return Err(format!("{other} is neither a whole number nor text: save it as one of them")),
    })
}
