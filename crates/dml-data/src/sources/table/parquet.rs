//! Tables of images in Parquet files.

use super::{add, places};
use crate::{CatalogBuilder, Error, Files, Result};
use ::parquet::basic::Repetition;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::Field;
use ::parquet::schema::types::Type;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Adds the rows of the table at `path`.
pub(super) fn read(path: &Path, root: &Path, builder: &mut CatalogBuilder<Files>) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    // The reader trusts what it is told: a damaged file can make it panic.
    catch_unwind(AssertUnwindSafe(|| rows(path, file, root, builder)))
        .unwrap_or_else(|_| Err(Error::format(path, "the file is damaged: save the table anew")))
}

fn rows(path: &Path, file: File, root: &Path, builder: &mut CatalogBuilder<Files>) -> Result<()> {
    let broken = |error| Error::format(path, format!("cannot be read ({error}): save the table anew"));
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema();
    let flat = |field: &&Arc<Type>| {
        let info = field.get_basic_info();
        field.is_primitive() && !(info.has_repetition() && info.repetition() == Repetition::REPEATED)
    };
    let fields: Vec<Arc<Type>> = schema.get_fields().iter().filter(flat).cloned().collect();
    let header: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let places = places(path, &header)?;
    // The reader hands out columns in the order of the file.
    let mut wanted: Vec<usize> = places.iter().flatten().copied().collect();
    wanted.sort_unstable();
    let projected = wanted.iter().map(|&i| fields[i].clone()).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(projected).build().map_err(broken)?;
    for (row, record) in reader.get_row_iter(Some(projection)).map_err(broken)?.enumerate() {
        let place = format!("row {}", row + 1);
        let record = record.map_err(broken)?;
        let texts = record
            .get_column_iter()
            .map(|(name, field)| {
                let problem = |problem| Error::format(path, format!("{place}, column {name}: {problem}"));
                text(field).map_err(problem)
            })
            .collect::<Result<Vec<String>>>()?;
        let cells = places.map(|place| {
            let at = wanted.iter().position(|&wanted| Some(wanted) == place)?;
            texts.get(at).map(|text| text.trim())
        });
        add(path, &place, cells, root, builder)?;
    }
    Ok(())
}

/// A value as text; an absent one is empty.
fn text(field: &Field) -> Result<String, String> {
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
        Field::Str(value) => value.clone(),
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(value) => value.to_owned(),
            Err(_) => return Err("the bytes are not UTF-8: save text".to_owned()),
        },
        other => return Err(format!("{other} is neither a whole number nor text: save it as one of them")),
    })
}
