//! Changes, in a transaction.

use crate::plan::{Next, Record, Update};
use crate::roster::Key;
use crate::server;
use crate::{Change, Error, Metadata, Model, Result, SampleId};
use ::postgres::binary_copy::BinaryCopyInWriter;
use ::postgres::types::{Json, Type};
use ::postgres::{Client, Row};
use dml_eval::identification::Templates;
use pgvector::Vector;
use std::collections::{BTreeMap, BTreeSet};

type Said<T> = std::result::Result<T, ::postgres::Error>;

/// Columns of [`records`].
pub(super) const RECORDS: &str =
    "SELECT i.key, i.name, i.metadata, s.id, s.embedding FROM identities i JOIN samples s USING (key)";

/// Takes in a row of [`RECORDS`], which come by rising key and sample.
pub(super) fn take(record: &mut Option<(Key, Record)>, row: &Row) -> Option<(Key, Record)> {
    let key = row.get::<_, i64>(0) as Key;
    let mut done = None;
    if record.as_ref().is_none_or(|(last, _)| *last != key) {
        let Json(metadata): Json<Metadata> = row.get(2);
        let (samples, values) = (Vec::new(), Vec::new());
        done = record.replace((key, Record { name: row.get(1), metadata, samples, values }));
    }
    if let Some((_, record)) = record {
        record.samples.push(row.get::<_, i64>(3) as SampleId);
        record.values.extend(row.get::<_, Vector>(4).to_vec());
    }
    done
}

/// The records of these people, as far as they are there.
pub(super) fn records(client: &mut Client, names: &[&str]) -> Said<BTreeMap<Key, Record>> {
    let rows = client.query(&format!("{RECORDS} WHERE i.name = ANY($1) ORDER BY i.key, s.id"), &[&names])?;
    let (mut all, mut last) = (BTreeMap::new(), None);
    for row in &rows {
        all.extend(take(&mut last, row));
    }
    all.extend(last);
    Ok(all)
}

/// Refuses texts that the server cannot keep.
pub(super) fn check_texts(changes: &[Change<'_>]) -> Result<()> {
    for change in changes {
        if let Change::Enrol { name, metadata, .. } = change
            && metadata.iter().any(|(key, value)| key.contains('\0') || value.contains('\0'))
        {
            return Err(Error::Input(format!(
                "{name:?} has metadata with a NUL, which PostgreSQL cannot keep: leave it out"
            )));
        }
    }
    Ok(())
}

/// What changes come to, and who was there of those whom they touch. Nobody else writes until the transaction ends.
pub(super) fn plan(
    client: &mut Client,
    model: &Model,
    templates: Templates,
    changes: &[Change<'_>],
) -> Said<Result<(Update, BTreeMap<Key, Record>)>> {
    let next = client.query_one("SELECT next_key, next_sample FROM gallery FOR UPDATE", &[])?;
    // A text with a NUL is nobody's name, and would be refused as a parameter.
    let names: BTreeSet<&str> = changes.iter().map(Change::name).filter(|name| !name.contains('\0')).collect();
    let there = records(client, &names.into_iter().collect::<Vec<_>>())?;
    let next = Next { key: next.get::<_, i64>(0) as Key, sample: next.get::<_, i64>(1) as SampleId };
    let update = server::plan(model, templates, next, &there, changes);
    Ok(update.map(|update| (update, there)))
}

/// Writes what changes come to.
pub(super) fn write(client: &mut Client, update: &Update, there: &BTreeMap<Key, Record>) -> Said<()> {
    let old: Vec<i64> = update.touched.keys().filter(|key| there.contains_key(key)).map(|&key| key as i64).collect();
    if !old.is_empty() {
        for table in ["identities", "samples", "templates"] {
            client.execute(&format!("DELETE FROM {table} WHERE key = ANY($1)"), &[&old])?;
        }
    }
    copy(client, update)?;
    let new = update.touched.values().flatten();
    let gone = update.touched.keys().filter_map(|key| there.get(key));
    let sum = |who: &mut dyn Iterator<Item = &Record>| {
        who.fold((0i64, 0i64), |(n, samples), record| (n + 1, samples + record.samples.len() as i64))
    };
    let (new, gone) = (sum(&mut { new }), sum(&mut { gone }));
    let Next { key, sample } = update.next;
    let counted =
        "UPDATE gallery SET next_key = $1, next_sample = $2, identities = identities + $3, samples = samples + $4";
    client.execute(counted, &[&(key as i64), &(sample as i64), &(new.0 - gone.0), &(new.1 - gone.1)]).map(drop)
}

/// Everybody whom changes leave, by the server's way for many rows.
fn copy(client: &mut Client, update: &Update) -> Said<()> {
    let records = || update.touched.iter().filter_map(|(&key, record)| Some((key as i64, record.as_ref()?)));
    if records().next().is_none() {
        return Ok(());
    }
    let vector = client.prepare("SELECT $1::vector")?.params()[0].clone();
    let part = |values: &[f32]| Vector::from(values.to_vec());
    let writer = client.copy_in("COPY identities (key, name, metadata) FROM STDIN (FORMAT binary)")?;
    let mut writer = BinaryCopyInWriter::new(writer, &[Type::INT8, Type::TEXT, Type::JSONB]);
    for (key, record) in records() {
        writer.write(&[&key, &record.name, &Json(&record.metadata)])?;
    }
    writer.finish()?;
    let writer = client.copy_in("COPY samples (key, id, embedding) FROM STDIN (FORMAT binary)")?;
    let mut writer = BinaryCopyInWriter::new(writer, &[Type::INT8, Type::INT8, vector.clone()]);
    for (key, record) in records() {
        let rows = record.values.chunks_exact(record.values.len() / record.samples.len());
        for (&id, values) in record.samples.iter().zip(rows) {
            writer.write(&[&key, &(id as i64), &part(values)])?;
        }
    }
    writer.finish()?;
    let writer = client.copy_in("COPY templates (key, number, metadata, embedding) FROM STDIN (FORMAT binary)")?;
    let mut writer = BinaryCopyInWriter::new(writer, &[Type::INT8, Type::INT4, Type::JSONB, vector]);
    for (key, record) in records() {
        let rows = update.templates.get(&(key as Key)).map_or(&[][..], |rows| rows);
        for (number, values) in rows.chunks_exact(record.values.len() / record.samples.len()).enumerate() {
            writer.write(&[&key, &(number as i32), &Json(&record.metadata), &part(values)])?;
        }
    }
    writer.finish().map(drop)
}

/// Writes the tables and their indices anew, without what was deleted. Not by VACUUM FULL: that is no part of a transaction, and
/// leaves rows that a transaction elsewhere in the database might still want to see.
pub(super) fn rewrite(client: &mut Client) -> Said<()> {
    // Locked in the order in which everybody locks them. An expression that changes nothing is computed all the same.
    client.batch_execute(
        "LOCK TABLE identities, samples, templates IN ACCESS EXCLUSIVE MODE;
         ALTER TABLE identities ALTER key TYPE bigint USING key + 0;
         ALTER TABLE samples ALTER key TYPE bigint USING key + 0;
         ALTER TABLE templates ALTER key TYPE bigint USING key + 0",
    )
}
