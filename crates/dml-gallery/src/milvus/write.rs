//! Changes: rows are written, then seen, and then what they replace goes.

use super::log::{Claim, Committed, State};
use super::table::{LONGEST_TEXT, Row, Table, listed, windows};
use super::tables::Tables;
use crate::plan::{Next, Record, Update};
use crate::roster::Key;
use crate::server;
use crate::{Change, Error, Metadata, Model, Result, SampleId};
use dml_eval::identification::Templates;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Number of a row that says that somebody is no longer there.
const GONE: i64 = -1;
/// Identities whose rows are asked for at once.
pub(super) const WIDTH: usize = 1000;

/// What is known of somebody, on their first row.
#[derive(Serialize, Deserialize)]
struct Words {
    name: String,
    metadata: Metadata,
}

/// 63 bits of the SHA-256: names and metadata are asked for by it, whatever characters they have.
pub(super) fn hash(parts: [&str; 2]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.finalize()[..8]);
    (u64::from_le_bytes(bytes) >> 1) as i64
}

/// Hash of a name.
pub(super) fn hash_of(name: &str) -> i64 {
    hash([name, ""])
}

fn words(name: &str, metadata: &Metadata) -> Result<String> {
    let words = Words { name: name.to_owned(), metadata: metadata.clone() };
    serde_json::to_string(&words).map_err(|e| Error::Input(e.to_string()))
}

/// Refuses words that the server cannot keep.
pub(super) fn check_texts(changes: &[Change<'_>]) -> Result<()> {
    for change in changes {
        if let Change::Enrol { name, metadata, .. } = change {
            let length = words(name, metadata)?.len();
            if length > LONGEST_TEXT {
                return Err(Error::Input(format!(
                    "name and metadata of {name:.40}… take {length} bytes as JSON: Milvus keeps {LONGEST_TEXT}, keep long texts elsewhere"
                )));
            }
        }
    }
    Ok(())
}

/// Rows of `samples` as records.
pub(super) fn records(mut rows: Vec<Row>, table: &Table<'_>) -> Result<BTreeMap<Key, Record>> {
    rows.sort_unstable_by_key(|row| (row.key, row.number));
    let mut all: BTreeMap<Key, Record> = BTreeMap::new();
    for row in rows {
        let key = row.key as Key;
        if let Entry::Vacant(place) = all.entry(key) {
            let Words { name, metadata } = serde_json::from_str(&row.text).map_err(|error| {
                table.line.problem(crate::ServerProblem::Said(format!("identity number {key} is damaged: {error}")))
            })?;
            place.insert(Record { name, metadata, samples: Vec::new(), values: Vec::new() });
        }
        if let Some(record) = all.get_mut(&key) {
            record.samples.push(row.number as SampleId);
            record.values.extend(row.values);
        }
    }
    Ok(all)
}

/// The records of these people, as far as they are there.
pub(super) fn of_names(tables: &Tables<'_>, state: &State, names: &BTreeSet<&str>) -> Result<BTreeMap<Key, Record>> {
    let hashes: Vec<i64> = names.iter().map(|name| hash_of(name)).collect();
    let mut all = BTreeMap::new();
    for hashes in hashes.chunks(WIDTH) {
        let condition = format!("name in [{}] and {}", listed(hashes), state.condition());
        all.extend(records(tables.samples.whole(&condition, state.at())?, &tables.samples)?);
    }
    all.retain(|_, record| names.contains(record.name.as_str()));
    Ok(all)
}

/// Makes changes, as the only one who writes.
pub(super) fn apply(
    tables: &Tables<'_>,
    claim: &mut Claim<'_>,
    model: &Model,
    templates: Templates,
    changes: &[Change<'_>],
) -> Result<Update> {
    let there = of_names(tables, &claim.state, &changes.iter().map(Change::name).collect())?;
    let old = &claim.state.committed;
    let next = Next { key: old.next_key, sample: old.next_sample };
    let update = server::plan(model, templates, next, &there, changes)?;
    let sum = |who: &mut dyn Iterator<Item = &Record>| {
        who.fold((0u64, 0u64), |(n, samples), record| (n + 1, samples + record.samples.len() as u64))
    };
    let new = sum(&mut update.touched.values().flatten());
    let gone = sum(&mut update.touched.keys().filter_map(|key| there.get(key)));
    let stamp = write(tables, claim, &update, &there, model.dim)?;
    let old = &claim.state.committed;
    let committed = Committed {
        batch: claim.attempt(),
        stamp: stamp.max(old.stamp),
        settled: !update.touched.keys().any(|key| there.contains_key(key)),
        next_key: update.next.key,
        next_sample: update.next.sample,
        identities: (old.identities + new.0).saturating_sub(gone.0),
        samples: (old.samples + new.1).saturating_sub(gone.1),
        ..old.clone()
    };
    claim.commit(committed)?;
    Ok(update)
}

/// Writes everybody as they will be, and who will not be there.
fn write(
    tables: &Tables<'_>,
    claim: &mut Claim<'_>,
    update: &Update,
    there: &BTreeMap<Key, Record>,
    d: usize,
) -> Result<u64> {
    let batch = claim.attempt();
    let (mut samples, mut templates) = (Vec::new(), Vec::new());
    for (&key, record) in &update.touched {
        let of = |record: &Record| Row {
            batch,
            key: key as i64,
            name: hash_of(&record.name),
            tags: record.metadata.iter().map(|(key, value)| hash([key, value])).collect(),
            ..Row::default()
        };
        let Some(record) = record else {
            let gone = |record| Row { number: GONE, values: vec![0.0; d], tags: Vec::new(), ..of(record) };
            samples.extend(there.get(&key).map(gone));
            continue;
        };
        for (place, (&id, values)) in record.samples.iter().zip(record.values.chunks_exact(d)).enumerate() {
            let text = if place == 0 { words(&record.name, &record.metadata)? } else { String::new() };
            samples.push(Row { number: id as i64, text, values: values.to_vec(), ..of(record) });
        }
        let rows = update.templates.get(&key).map_or(&[][..], |rows| rows);
        for (place, values) in rows.chunks_exact(d).enumerate() {
            let text = if place == 0 { record.name.clone() } else { String::new() };
            templates.push(Row { number: place as i64, text, values: values.to_vec(), ..of(record) });
        }
    }
    let mut stamp = 0;
    for (table, mut rows) in [(&tables.samples, samples), (&tables.templates, templates)] {
        for (place, row) in rows.iter_mut().enumerate() {
            // Attempts have numbers of their own, and so do their rows.
            row.pk = batch << 32 | place as i64;
        }
        claim.wrote |= !rows.is_empty();
        stamp = table.insert(&rows, &mut || claim.keep())?.max(stamp);
    }
    Ok(stamp)
}

/// Deletes what the last batch has replaced, and who is gone; and what those left who died. It may be done again.
pub(super) fn settle(tables: &Tables<'_>, claim: &mut Claim<'_>) -> Result<()> {
    if claim.cleans {
        clean(tables, claim)?;
    }
    let state = claim.state.clone();
    if state.committed.settled {
        return Ok(());
    }
    let Committed { batch, next_key, .. } = state.committed;
    let mut gone = Vec::new();
    for keys in windows(next_key, 50_000) {
        let among = format!("key >= {} and key < {} and batch == {batch}", keys.start, keys.end);
        let new = tables.samples.query(&among, &["key", "number"], state.at())?;
        gone.extend(new.iter().filter(|row| row.number == GONE).map(|row| row.pk));
        let keys: BTreeSet<i64> = new.iter().map(|row| row.key).collect();
        for keys in keys.into_iter().collect::<Vec<_>>().chunks(WIDTH) {
            for table in [&tables.samples, &tables.templates] {
                let replaced = format!("key in [{}] and batch < {batch}", listed(keys));
                let pks: Vec<i64> = table.query(&replaced, &[], state.at())?.iter().map(|row| row.pk).collect();
                table.delete(&pks, &mut || claim.keep())?;
            }
        }
    }
    // Last of all: by them the others are found.
    tables.samples.delete(&gone, &mut || claim.keep())?;
    // What is written after the deletions has a later stamp than they.
    let stamp = claim.put(claim.state.clone())?;
    claim.commit(Committed { settled: true, stamp, ..state.committed })
}

/// Deletes the rows of attempts that died.
pub(super) fn clean(tables: &Tables<'_>, claim: &mut Claim<'_>) -> Result<()> {
    let dead = claim.state.dead.clone();
    if !dead.is_empty() {
        for table in [&tables.samples, &tables.templates] {
            let pks = table.query(&format!("batch in [{}]", listed(&dead)), &[], super::table::At::Now)?;
            table.delete(&pks.iter().map(|row| row.pk).collect::<Vec<_>>(), &mut || claim.keep())?;
        }
    }
    claim.cleans = false;
    Ok(())
}
