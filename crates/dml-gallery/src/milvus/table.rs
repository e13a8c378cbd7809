//! Rows in the server's collections. All collections of a gallery have the same columns.

use super::line::Line;
use crate::roster::Key;
use crate::{Error, Result, ServerProblem};
use dml_core::Metric;
use milvus::client::ConsistencyLevel;
use milvus::data::FieldColumn;
use milvus::index::{IndexParams, IndexType, MetricType};
use milvus::mutate::DeleteOptions;
use milvus::options::CreateCollectionOptions;
use milvus::proto::common::{DslType, KeyValuePair};
use milvus::proto::milvus::{QueryRequest, SearchRequest, search_request::SearchInput};
use milvus::proto::schema::{DataType, FieldData, i_ds::IdField};
use milvus::query::get_place_holder_group;
use milvus::schema::{CollectionSchemaBuilder, FieldSchema};
use milvus::value::{Value, ValueVec};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes that go over the line at once.
const PART: usize = 4 << 20;
/// The most rows that a search answers, for a probe.
pub(super) const LONGEST_LIST: usize = 16_384;
/// The longest text, in bytes, and the longest vector.
pub(super) const LONGEST_TEXT: usize = 65_535;
pub(super) const LONGEST_VECTOR: usize = 32_768;

/// A row of any collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Never given twice.
    pub(super) pk: i64,
    /// With what it was written.
    pub(super) batch: i64,
    /// Whose it is.
    pub(super) key: i64,
    /// Which of theirs.
    pub(super) number: i64,
    /// Hash of their name.
    pub(super) name: i64,
    /// Hashes of their metadata.
    pub(super) tags: Vec<i64>,
    /// Words, on the first row of theirs.
    pub(super) text: String,
    /// `[d]`.
    pub(super) values: Vec<f32>,
}

/// Which rows an answer must know.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// All that anybody has written by now: the server waits until it knows.
    Now,
    /// All up to this stamp of the server's.
    Since(u64),
}

impl At {
    fn said(self) -> (i32, u64) {
        match self {
            Self::Now => (ConsistencyLevel::Strong as i32, 0),
            Self::Since(stamp) => (ConsistencyLevel::Customized as i32, stamp),
        }
    }
}

/// A collection.
pub(super) struct Table<'a> {
    pub(super) line: &'a Line,
    pub(super) name: &'a str,
    pub(super) dim: usize,
}

/// How the server compares. By cosine the rows are of unit length, and so the product is the cosine.
pub(super) fn compared(metric: Metric) -> Result<MetricType> {
    match metric {
        Metric::Cosine | Metric::Dot => Ok(MetricType::IP),
        Metric::Euclidean | Metric::SquaredEuclidean => Ok(MetricType::L2),
        other => Err(Error::Input(format!(
            "Milvus does not compare by {other}: cosine, dot, euclidean and squared_euclidean are there; keep this gallery in a \
             file, or lp:1 in PostgreSQL"
        ))),
    }
}

/// `1,2,3`.
pub(super) fn listed(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

impl Table<'_> {
    fn parts(&self) -> usize {
        (PART / (4 * self.dim + 256)).clamp(1, 1000)
    }

    /// Makes it, empty and ready to be asked; its rows are compared one by one.
    pub(super) fn create(&self, metric: Metric, shards: u16) -> Result<()> {
        let json = FieldSchema { name: "tags".to_owned(), dtype: DataType::Json, ..FieldSchema::empty() };
        let mut schema = CollectionSchemaBuilder::new(self.name, "a gallery of dml");
        schema.add_field(FieldSchema::new_primary_int64("pk", "", false));
        for column in ["batch", "key", "number", "name"] {
            schema.add_field(FieldSchema::new_int64(column, ""));
        }
        schema.add_field(json).add_field(FieldSchema::new_varchar("text", "", LONGEST_TEXT as i32));
        schema.add_field(FieldSchema::new_float_vector("embedding", "", self.dim as i64));
        let index = IndexParams::new("flat".to_owned(), IndexType::Flat, compared(metric)?, HashMap::new());
        self.line.order(async |client| {
            let options = CreateCollectionOptions::with_shard_num(shards.into());
            client.create_collection(schema.build()?, Some(options)).await?;
            client.create_index(self.name, "embedding", index).await?;
            client.load_collection(self.name, None).await
        })
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> Result<bool> {
        self.line.order(|client| client.has_collection(self.name))
    }

    /// Has it in the server's memory, where it can be asked.
    pub(super) fn load(&self) -> Result<()> {
        self.line.order(|client| client.load_collection(self.name, None))
    }

    /// Drops it, with all that it holds.
    pub(super) fn discard(&self) -> Result<()> {
        self.line.order(|client| client.drop_collection(self.name))
    }

    /// Adds rows, some at a time; `each` is called between. Answers the server's stamp of the last.
    pub(super) fn insert(&self, rows: &[Row], each: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
        let mut stamp = 0;
        for rows in rows.chunks(self.parts()) {
            each()?;
            let column = |name: &str, dtype, dim, value| FieldColumn {
                name: name.to_owned(),
                dtype,
                value,
                dim,
                max_length: 0,
                is_dynamic: false,
            };
            let long = |name, of: fn(&Row) -> i64| {
                column(name, DataType::Int64, 1, ValueVec::Long(rows.iter().map(of).collect()))
            };
            let tags = |row: &Row| format!("{{\"t\":[{}]}}", listed(&row.tags)).into_bytes();
            let texts = rows.iter().map(|row| row.text.clone()).collect();
            let values = rows.iter().flat_map(|row| &row.values).copied().collect();
            let columns = vec![
                long("pk", |row| row.pk),
                long("batch", |row| row.batch),
                long("key", |row| row.key),
                long("number", |row| row.number),
                long("name", |row| row.name),
                column("tags", DataType::Json, 1, ValueVec::Json(rows.iter().map(tags).collect())),
                column("text", DataType::VarChar, 1, ValueVec::String(texts)),
                column("embedding", DataType::FloatVector, self.dim as i64, ValueVec::Float(values)),
            ];
            stamp = self.line.order(|client| client.insert(self.name, columns, None))?.timestamp;
        }
        Ok(stamp)
    }

    /// Deletes rows, some at a time; `each` is called between. The server says no stamp of it.
    pub(super) fn delete(&self, pks: &[i64], each: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        for pks in pks.chunks(10_000) {
            each()?;
            let which = DeleteOptions::with_filter(format!("pk in [{}]", listed(pks)));
            self.line.order(async |client| client.delete(self.name, &which).await)?;
        }
        Ok(())
    }

    /// Rows of which `condition` holds, in no order; of their columns `pk` and those named.
    pub(super) fn query(&self, condition: &str, columns: &[&str], at: At) -> Result<Vec<Row>> {
        let (consistency_level, guarantee_timestamp) = at.said();
        let request = QueryRequest {
            collection_name: self.name.to_owned(),
            expr: condition.to_owned(),
            output_fields: std::iter::once("pk").chain(columns.iter().copied()).map(str::to_owned).collect(),
            guarantee_timestamp,
            consistency_level,
            ..QueryRequest::default()
        };
        let found = self.line.ask(async |mut reader| reader.query(request.clone()).await)?.into_inner();
        self.line.check(found.status)?;
        self.rows(found.fields_data)
    }

    /// As `query`, with embeddings and texts, however many there are.
    pub(super) fn whole(&self, condition: &str, at: At) -> Result<Vec<Row>> {
        let pks: Vec<i64> = self.query(condition, &[], at)?.iter().map(|row| row.pk).collect();
        let mut all = Vec::with_capacity(pks.len());
        for pks in pks.chunks(self.parts()) {
            let columns = ["batch", "key", "number", "name", "text", "embedding"];
            all.extend(self.query(&format!("pk in [{}]", listed(pks)), &columns, at)?);
        }
        Ok(all)
    }

    /// Whose rows are nearest to each probe, closest first: as many rows as `limit`, so that somebody may be named twice.
    pub(super) fn search(
        &self,
        metric: Metric,
        probes: &[&[f32]],
        limit: usize,
        condition: &str,
        at: At,
    ) -> Result<Vec<Vec<Key>>> {
        let (consistency_level, guarantee_timestamp) = at.said();
        let pair = |key: &str, value: String| KeyValuePair { key: key.to_owned(), value };
        let compared = compared(metric)?;
        let vectors = probes.iter().map(|&probe| Value::from(probe)).collect();
        let group = get_place_holder_group(&vectors).map_err(|e| Error::Input(e.to_string()))?;
        let request = SearchRequest {
            collection_name: self.name.to_owned(),
            dsl: condition.to_owned(),
            dsl_type: DslType::BoolExprV1 as i32,
            nq: probes.len() as i64,
            search_input: Some(SearchInput::PlaceholderGroup(group)),
            output_fields: vec!["key".to_owned()],
            search_params: vec![
                pair("anns_field", "embedding".to_owned()),
                pair("topk", limit.to_string()),
                pair("metric_type", compared.to_string()),
                pair("params", "{}".to_owned()),
                pair("round_decimal", "-1".to_owned()),
            ],
            guarantee_timestamp,
            consistency_level,
            ..SearchRequest::default()
        };
        let found = self.line.ask(async |mut reader| reader.search(request.clone()).await)?.into_inner();
        self.line.check(found.status)?;
        let results = found.results.unwrap_or_default();
        let named = results.ids.and_then(|ids| ids.id_field);
        let count = if let Some(IdField::IntId(ids)) = &named { ids.data.len() } else { 0 };
        let keys = if count == 0 { Vec::new() } else { self.rows(results.fields_data)? };
        let mut lists = vec![Vec::new(); probes.len()];
        let mut rest = keys.into_iter().map(|row| row.key as Key);
        for (list, length) in lists.iter_mut().zip(results.topks) {
            list.extend(rest.by_ref().take(length as usize));
        }
        Ok(lists)
    }

    /// Columns as rows.
    fn rows(&self, columns: Vec<FieldData>) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        for column in columns.into_iter().map(FieldColumn::from) {
            let (name, dim) = (column.name.clone(), self.dim);
            let count = if name == "embedding" { column.value.len() / dim } else { column.value.len() };
            if rows.is_empty() {
                rows.resize_with(count, Row::default);
            }
            let odd = || self.line.problem(ServerProblem::Said(format!("column {name} of another kind or length")));
            let same = rows.len() == count;
            match (name.as_str(), column.value) {
                ("batch", ValueVec::Long(all)) if same => put(&mut rows, all, |row, value| row.batch = value),
                ("key", ValueVec::Long(all)) if same => put(&mut rows, all, |row, value| row.key = value),
                ("number", ValueVec::Long(all)) if same => put(&mut rows, all, |row, value| row.number = value),
                ("name", ValueVec::Long(all)) if same => put(&mut rows, all, |row, value| row.name = value),
                ("pk", ValueVec::Long(all)) if same => put(&mut rows, all, |row, value| row.pk = value),
                ("text", ValueVec::String(all)) if same => put(&mut rows, all, |row, value| row.text = value),
                ("embedding", ValueVec::Float(all)) if same => {
                    for (row, values) in rows.iter_mut().zip(all.chunks_exact(dim)) {
                        row.values = values.to_vec();
                    }
                }
                (_, ValueVec::None) if rows.is_empty() => {}
                _ => return Err(odd()),
            }
        }
        Ok(rows)
    }
}

fn put<T>(rows: &mut [Row], values: Vec<T>, set: fn(&mut Row, T)) {
    for (row, value) in rows.iter_mut().zip(values) {
        set(row, value);
    }
}

/// Keys some at a time.
pub(super) fn windows(keys: u64, width: usize) -> impl Iterator<Item = Range<u64>> {
    (0..keys).step_by(width).map(move |first| first..keys.min(first + width as u64))
}
