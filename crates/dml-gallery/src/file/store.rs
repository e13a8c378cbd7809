//! The tables of a gallery in a redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `settings` | `"settings"` | [`Settings`] as JSON |
//! | `identities` | number of the first identity of a block, by enrolment | [`block`] |

use super::block::{self, Packer};
use super::record;
use crate::plan::{Next, Record, Update};
use crate::roster::Key;
use crate::{Calibration, Error, Identity, Model, Result, SampleId};
use dml_eval::identification::Templates;
use rayon::prelude::*;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageError, Table,
    TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};

const SETTINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("settings");
const IDENTITIES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("identities");

/// Of this layout.
const VERSION: u32 = 2;
/// Memory for pages of the file, in bytes: what is searched lies beside it.
const CACHE: usize = 64 << 20;

/// What is known of the whole gallery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) version: u32,
    pub(super) model: Model,
    pub(super) templates: Templates,
    pub(super) calibration: Option<Calibration>,
    pub(super) next_key: Key,
    pub(super) next_sample: SampleId,
    /// Somebody was removed whose bytes may still be in the file.
    pub(super) erase: bool,
    /// How often somebody who was there has changed.
    #[serde(default)]
    pub(super) revision: u64,
    /// The index beside the file.
    #[cfg(feature = "ann")]
    #[serde(default)]
    pub(super) index: Option<super::graph::Stamp>,
    /// The same where this dml knows nothing of it.
    #[cfg(not(feature = "ann"))]
    #[serde(default)]
    pub(super) index: Option<serde_json::Value>,
}

impl Settings {
    pub(super) fn new(model: Model, templates: Templates) -> Self {
        Self {
            version: VERSION,
            model,
            templates,
            calibration: None,
            next_key: 0,
            next_sample: 0,
            erase: false,
            revision: 0,
            index: None,
        }
    }

    pub(super) fn next(&self) -> Next {
        Next { key: self.next_key, sample: self.next_sample }
    }
}

/// An open file.
pub(super) struct Store {
    path: PathBuf,
    database: Database,
}

impl Store {
    /// A gallery in an empty file, which will be called `path`.
    pub(super) fn create(path: &Path, file: File, settings: &Settings) -> Result<Self> {
        let store = Self { path: path.to_owned(), database: open(path, file, false)? };
        store.write(settings, |_| Ok(()))?;
        Ok(store)
    }

    /// A gallery in a file, every page of it checked.
    pub(super) fn open(path: &Path, file: File) -> Result<Self> {
        Ok(Self { path: path.to_owned(), database: open(path, file, true)? })
    }

    pub(super) fn settings(&self) -> Result<Settings> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let table = match read.open_table(SETTINGS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Err(no_gallery(&self.path)),
            other => other.map_err(|e| self.failed(e))?,
        };
        let value = table.get("settings").map_err(|e| self.failed(e))?.ok_or_else(|| no_gallery(&self.path))?;
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |problem: String| Error::Damaged { path: self.path.clone(), problem };
        let version: Version = serde_json::from_slice(value.value()).map_err(|_| no_gallery(&self.path))?;
        if version.version != VERSION {
            let found = version.version;
            return Err(damaged(format!(
                "a gallery of layout {found}, this dml reads layout {VERSION}: export it with the dml that wrote it, and import it here"
            )));
        }
        serde_json::from_slice(value.value()).map_err(|error| {
            damaged(format!("its settings are damaged ({error}): restore it from an export or a copy"))
        })
    }

    /// Settings and records in one durable step; `Ok` once it is on the disk.
    fn write(&self, settings: &Settings, records: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        // In one phase, a damaged last state would be taken for one that was never finished, and given up in silence.
        transaction.set_two_phase_commit(true);
        let json = serde_json::to_vec(settings).map_err(|e| self.failed(e))?;
        {
            let mut table = transaction.open_table(SETTINGS).map_err(|e| self.failed(e))?;
            table.insert("settings", &json[..]).map_err(|e| self.failed(e))?;
        }
        records(&transaction)?;
        transaction.commit().map_err(|e| self.failed(e))
    }

    pub(super) fn write_settings(&self, settings: &Settings) -> Result<()> {
        self.write(settings, |_| Ok(()))
    }

    /// Keeps what changes come to.
    pub(super) fn apply(&self, settings: &mut Settings, update: &Update) -> Result<()> {
        let mut new = settings.clone();
        (new.next_key, new.next_sample) = (update.next.key, update.next.sample);
        new.erase |= update.forgets;
        new.revision += u64::from(update.touched.range(..settings.next_key).next().is_some());
        self.write(&new, |transaction| {
            let mut table = transaction.open_table(IDENTITIES).map_err(|e| self.failed(e))?;
            // Those who were there change in their blocks; the new ones have blocks of their own.
            let old = update.touched.range(..settings.next_key);
            let mut changed = BTreeMap::<Key, Vec<(Key, Option<&Record>)>>::new();
            for (&key, record) in old {
                let first = self.first_of(&table, key)?.ok_or_else(|| self.damaged(key))?;
                changed.entry(first).or_default().push((key, record.as_ref()));
            }
            for (first, changes) in changed {
                let bytes = table.remove(first).map_err(|e| self.failed(e))?.map(|value| value.value().to_vec());
                let bytes = bytes.ok_or_else(|| self.damaged(first))?;
                let mut records: BTreeMap<Key, Cow<'_, [u8]>> = block::records(&bytes)
                    .map(|taken| taken.map(|(key, record)| (key, Cow::Borrowed(record))))
                    .collect::<Option<_>>()
                    .ok_or_else(|| self.damaged(first))?;
                for (key, record) in changes {
                    match record {
                        Some(record) => drop(records.insert(key, Cow::Owned(record::encode(record)))),
                        None => drop(records.remove(&key)),
                    }
                }
                self.insert(&mut table, records.iter().map(|(&key, record)| (key, record)))?;
            }
            let new = update.touched.range(settings.next_key..);
            let new: Vec<_> = new.filter_map(|(&key, record)| Some((key, record.as_ref()?))).collect();
            let new: Vec<_> = new.into_par_iter().map(|(key, record)| (key, record::encode(record))).collect();
            self.insert(&mut table, new.into_iter())
        })?;
        *settings = new;
        Ok(())
    }

    /// Puts records that come by rising number into blocks of their own.
    fn insert<R: AsRef<[u8]>>(
        &self,
        table: &mut Table<'_, Key, &'static [u8]>,
        records: impl Iterator<Item = (Key, R)>,
    ) -> Result<()> {
        let mut packer = Packer::default();
        for (key, record) in records {
            self.put(table, packer.add(key, record.as_ref()))?;
        }
        self.put(table, packer.take())
    }

    fn put(&self, table: &mut Table<'_, Key, &'static [u8]>, block: Option<(Key, Vec<u8>)>) -> Result<()> {
        let Some((first, bytes)) = block else { return Ok(()) };
        table.insert(first, &bytes[..]).map(drop).map_err(|e| self.failed(e))
    }

    /// The block that an identity is in, if it is there.
    fn first_of(&self, table: &impl ReadableTable<Key, &'static [u8]>, key: Key) -> Result<Option<Key>> {
        let mut before = table.range(..=key).map_err(|e| self.failed(e))?;
        before.next_back().map(|entry| Ok(entry.map_err(|e| self.failed(e))?.0.value())).transpose()
    }

    /// All that is here, in a new file: nothing of what was removed is in it. That file's store.
    pub(super) fn copied(&self, file: File, settings: &Settings) -> Result<Self> {
        let copy = Self { path: self.path.clone(), database: open(&self.path, file, false)? };
        copy.write(settings, |transaction| {
            let mut to = transaction.open_table(IDENTITIES).map_err(|e| self.failed(e))?;
            let mut packer = Packer::default();
            self.for_each_block(&mut |first, bytes| {
                for taken in block::records(bytes) {
                    let (key, record) = taken.ok_or_else(|| self.damaged(first))?;
                    self.put(&mut to, packer.add(key, record))?;
                }
                Ok(())
            })?;
            self.put(&mut to, packer.take())
        })?;
        Ok(copy)
    }

    pub(super) fn record(&self, key: Key, dim: usize) -> Result<Option<Record>> {
        let Some(table) = self.identities()? else { return Ok(None) };
        let Some(first) = self.first_of(&table, key)? else { return Ok(None) };
        let Some(value) = table.get(first).map_err(|e| self.failed(e))? else { return Ok(None) };
        for taken in block::records(value.value()) {
            let (found, bytes) = taken.ok_or_else(|| self.damaged(first))?;
            if found == key {
                return record::decode(bytes, dim).map(Some).ok_or_else(|| self.damaged(key));
            }
        }
        Ok(None)
    }

    /// Visits all records, by rising key, as they are at one moment.
    pub(super) fn for_each(&self, dim: usize, visit: &mut dyn FnMut(Key, Record) -> Result<()>) -> Result<()> {
        self.for_each_block(&mut |first, bytes| {
            let records = block::decode(bytes, dim).ok_or_else(|| self.damaged(first))?;
            records.into_iter().try_for_each(|(key, record)| visit(key, record))
        })
    }

    /// All identities with numbers below `end`, some at a time by rising number, of a file of so many bytes. `make` is given some by
    /// whatever thread has read them, with their embeddings one after another; `take` then has what it made, in order.
    pub(super) fn for_each_part<T: Send>(
        &self,
        dim: usize,
        (end, bytes): (Key, u64),
        make: impl Fn(Vec<(Key, Identity)>, Vec<f32>) -> Result<T> + Sync,
        mut take: impl FnMut(Vec<T>) -> Result<()>,
    ) -> Result<()> {
        /// Bytes of a part, which one thread makes, and parts that are taken together.
        const PART: u128 = 1 << 20;
        const TOGETHER: usize = 16;
        // Numbers of a part: many where most who had one are gone.
        let part = PART * u128::from(end) / u128::from(bytes.max(1));
        let part = Key::try_from(part).unwrap_or(end).max(1);
        let Some(table) = self.identities()? else { return Ok(()) };
        let read = |start: Key| {
            let (mut identities, mut values) = (Vec::new(), Vec::new());
            for entry in table.range(start..end.min(start.saturating_add(part))).map_err(|e| self.failed(e))? {
                let (first, block) = entry.map_err(|e| self.failed(e))?;
                for taken in block::records(block.value()) {
                    let decoded =
                        taken.and_then(|(key, bytes)| Some((key, record::decode_onto(&mut values, bytes, dim)?)));
                    identities.push(decoded.ok_or_else(|| self.damaged(first.value()))?);
                }
            }
            make(identities, values)
        };
        let starts: Vec<Key> = (0..end).step_by(part as usize).collect();
        for some in starts.chunks(TOGETHER) {
            take(some.par_iter().map(|&start| read(start)).collect::<Result<_>>()?)?;
        }
        Ok(())
    }

    fn identities(&self) -> Result<Option<ReadOnlyTable<Key, &'static [u8]>>> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        match read.open_table(IDENTITIES) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            other => other.map(Some).map_err(|e| self.failed(e)),
        }
    }

    fn for_each_block(&self, visit: &mut dyn FnMut(Key, &[u8]) -> Result<()>) -> Result<()> {
        let Some(table) = self.identities()? else { return Ok(()) };
        for entry in table.iter().map_err(|e| self.failed(e))? {
            let (first, value) = entry.map_err(|e| self.failed(e))?;
            visit(first.value(), value.value())?;
        }
        Ok(())
    }

    /// What is said where the bytes of an identity, or of those beside it, are none.
    fn damaged(&self, key: Key) -> Error {
        let problem = format!("the record of identity number {key} is damaged: restore it from an export or a copy");
        Error::Damaged { path: self.path.clone(), problem }
    }

    fn failed(&self, error: impl Display) -> Error {
        Error::Storage { path: self.path.clone(), problem: error.to_string() }
    }
}

fn no_gallery(path: &Path) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        problem: "this is no gallery: name a file that `dml gallery create` made".to_owned(),
    }
}

fn open(path: &Path, file: File, check: bool) -> Result<Database> {
    let open = || {
        let backend = FileBackend::new(file)?;
        Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(check).create_with_backend(backend)
    };
    open().map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Busy(path.to_owned()),
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != std::io::ErrorKind::InvalidData => {
            Error::Io { path: path.to_owned(), source }
        }
        DatabaseError::Storage(StorageError::Io(_)) => no_gallery(path),
        other => {
            let problem = format!("the file is damaged or cut short ({other}): restore it from an export or a copy");
            Error::Damaged { path: path.to_owned(), problem }
        }
    })
}
