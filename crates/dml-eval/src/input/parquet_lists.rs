//! Embeddings in Parquet files: a column of lists of floats, as pyarrow, pandas and polars write and read them.

use super::{Items, Vectors, io, refused, vectors::row_bytes};
use crate::Result;
use ::parquet::{
    basic::{LogicalType, Repetition, Type as Physical},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, ByteArrayType, DataType, FloatType},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        reader::FileReader,
        serialized_reader::SerializedFileReader,
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnDescriptor, Type},
};
use std::{
    borrow::Cow,
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

/// Values of a row group at most, but for rows that are longer; all of one is held before it is written.
const GROUP: usize = 1 << 22;

/// Writes row groups as they come.
pub(super) struct ListWriter {
    out: SerializedFileWriter<File>,
    dim: usize,
    /// First row of what is held.
    first: usize,
    held: Vec<f32>,
}

fn cannot(path: &Path) -> impl Fn(ParquetError) -> crate::Error + '_ {
    move |error| refused(path, format!("cannot be written: {error}"))
}

impl ListWriter {
    pub(super) fn begin(path: &Path, file: File, dim: usize) -> Result<Self> {
        let schema = schema().map_err(cannot(path))?;
        // Numbers of embeddings repeat too rarely for a dictionary, and nobody asks for their least and most.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let out = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(cannot(path))?;
        Ok(Self { out, dim, first: 0, held: Vec::new() })
    }

    pub(super) fn push(&mut self, path: &Path, rows: &[f32], items: &Items) -> Result<()> {
        // Whole groups, however rows come, so that they make the same file.
        let whole = (GROUP / self.dim).max(1) * self.dim;
        let mut rest = rows;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(whole - self.held.len()));
            self.held.extend_from_slice(some);
            rest = others;
            if self.held.len() == whole {
                self.group(items).map_err(cannot(path))?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, path: &Path, items: &Items) -> Result<()> {
        if !self.held.is_empty() {
            self.group(items).map_err(cannot(path))?;
        }
        self.out.close().map(drop).map_err(cannot(path))
    }

    /// Writes what is held as a row group.
    fn group(&mut self, items: &Items) -> ::parquet::errors::Result<()> {
        let rows = self.first..self.first + self.held.len() / self.dim;
        let mut group = self.out.next_row_group()?;
        let texts: [Vec<ByteArray>; 2] = [
            rows.clone().map(|row| items.ids[row].as_str().into()).collect(),
            rows.clone().map(|row| items.label(row).into()).collect(),
        ];
        for texts in texts {
            let mut column = group.next_column()?.ok_or_else(lacking)?;
            column.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
            column.close()?;
        }
        // A list begins at level 0 and goes on at 1; there is a value everywhere.
        let begins: Vec<i16> = (0..self.held.len()).map(|i| i16::from(!i.is_multiple_of(self.dim))).collect();
        let there = vec![1; begins.len()];
        let mut column = group.next_column()?.ok_or_else(lacking)?;
        column.typed::<FloatType>().write_batch(&self.held, Some(&there[..]), Some(&begins[..]))?;
        column.close()?;
        group.close()?;
        self.held.clear();
        self.first = rows.end;
        Ok(())
    }
}

fn lacking() -> ParquetError {
    ParquetError::General("the schema has too few columns".to_owned())
}

/// `id` and `label`, texts, and `embedding`, a list of floats; nothing may be absent.
fn schema() -> ::parquet::errors::Result<Type> {
    let text = |name: &str| {
        let builder = Type::primitive_type_builder(name, Physical::BYTE_ARRAY);
        builder.with_repetition(Repetition::REQUIRED).with_logical_type(Some(LogicalType::String)).build()
    };
    let element =
        Type::primitive_type_builder("element", Physical::FLOAT).with_repetition(Repetition::REQUIRED).build()?;
    let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
    let list = list.with_fields(vec![Arc::new(element)]).build()?;
    let embedding = Type::group_type_builder("embedding").with_repetition(Repetition::REQUIRED);
    let embedding = embedding.with_logical_type(Some(LogicalType::List)).with_fields(vec![Arc::new(list)]).build()?;
    let fields = vec![text("id")?, text("label")?, embedding].into_iter().map(Arc::new).collect();
    Type::group_type_builder("embeddings").with_fields(fields).build()
}

/// Embeddings read into memory.
#[derive(Debug)]
pub(super) struct Lists {
    values: Vec<f32>,
    rows: usize,
    dim: usize,
}

impl Lists {
    /// The lists of floats in the column of this name, or in the only one that has any.
    pub(super) fn open(path: &Path, column: Option<&str>) -> Result<Self> {
        let file = File::open(path).map_err(io(path))?;
        // The reader trusts what it is told: a damaged file can make it panic.
        catch_unwind(AssertUnwindSafe(|| read(path, file, column)))
            .unwrap_or_else(|_| Err(refused(path, "the file is damaged: write it again")))
    }
}

impl Vectors for Lists {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn block(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>> {
        row_bytes(&self.values, &rows, self.rows, self.dim).map(Cow::Borrowed).map_err(crate::Error::Input)
    }
}

fn read(path: &Path, file: File, column: Option<&str>) -> Result<Lists> {
    let broken = |error| refused(path, format!("the table cannot be read ({error}): write it again"));
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let name = |i: usize| schema.column(i).path().parts().first().cloned().unwrap_or_default();
    let lists: Vec<usize> = (0..schema.num_columns()).filter(|&i| is_list(&schema.column(i))).collect();
    let names: Vec<String> = lists.iter().map(|&i| name(i)).collect();
    let mut chosen = lists.iter().filter(|&&i| column.is_none_or(|column| name(i) == column));
    let (Some(&chosen), None) = (chosen.next(), chosen.next()) else {
        let listed =
            if names.is_empty() { "there is none".to_owned() } else { format!("name one of {}", names.join(", ")) };
        return Err(refused(path, format!("there is not just one column of lists of floats: {listed}")));
    };
    let whole = schema.column(chosen).max_def_level();
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(broken)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut lists = match group.get_column_reader(chosen).map_err(broken)? {
            ColumnReader::FloatColumnReader(column) => records(column, rows, |value| value).map_err(broken)?,
            ColumnReader::DoubleColumnReader(column) => records(column, rows, |value| value as f32).map_err(broken)?,
            _ => return Err(refused(path, "embeddings are lists of float or double: save them as one of them")),
        };
        for (&defined, &level) in lists.defined.iter().zip(&lists.levels) {
            if level == 0 {
                lengths.push(0_usize);
            }
            if defined != whole {
                let row = lengths.len();
                return Err(refused(path, format!("row {row}: a value or the list is absent: save whole embeddings")));
            }
            if let Some(length) = lengths.last_mut() {
                *length += 1;
            }
        }
        values.append(&mut lists.values);
    }
    let dim = lengths.first().copied().unwrap_or(0);
    if let Some(row) = lengths.iter().position(|&length| length != dim) {
        let (length, row) = (lengths[row], row + 1);
        return Err(refused(path, format!("row {row} has {length} values but row 1 has {dim}: give all one length")));
    }
    if lengths.is_empty() || values.len() != lengths.len() * dim {
        return Err(refused(path, "there are no embeddings, or fewer than the table says: write it again"));
    }
    Ok(Lists { values, rows: lengths.len(), dim })
}

/// Whether a column is of lists of floats, not of lists of lists.
fn is_list(column: &ColumnDescriptor) -> bool {
    column.max_rep_level() == 1 && matches!(column.physical_type(), Physical::FLOAT | Physical::DOUBLE)
}

/// A row group's values, and for each whether it is there and where its list begins.
struct Records {
    values: Vec<f32>,
    defined: Vec<i16>,
    levels: Vec<i16>,
}

fn records<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    rows: usize,
    number: impl Fn(T::T) -> f32,
) -> ::parquet::errors::Result<Records> {
    let (mut values, mut defined, mut levels, mut read) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while read < rows {
        let (records, _, _) = column.read_records(rows - read, Some(&mut defined), Some(&mut levels), &mut values)?;
        if records == 0 {
            return Err(ParquetError::General(format!("{read} of {rows} rows are there")));
        }
        read += records;
    }
    Ok(Records { values: values.into_iter().map(number).collect(), defined, levels })
}
