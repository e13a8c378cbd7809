//! The tables of a gallery in a redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `settings` | `"settings"` | [`Settings`] as JSON |
//! | `identities` | number of the identity, by enrolment | [`record`] |

use super::record;
use crate::roster::{Key, Next, Record, Update};
use crate::{Calibration, Error, Model, Result, SampleId};
use dml_eval::identification::Templates;
use rayon::prelude::*;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};

const SETTINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("settings");
const IDENTITIES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("identities");

/// Of this layout.
const VERSION: u32 = 1;
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
}

impl Settings {
    pub(super) fn new(model: Model, templates: Templates) -> Self {
        Self { version: VERSION, model, templates, calibration: None, next_key: 0, next_sample: 0, erase: false }
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
                "a gallery of layout {found}, this dml reads layout {VERSION}: use the dml that wrote it"
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
        self.write(&new, |transaction| {
            let mut table = transaction.open_table(IDENTITIES).map_err(|e| self.failed(e))?;
            for (key, record) in &update.touched {
                match record {
                    Some(record) => drop(table.insert(key, &record::encode(record)[..]).map_err(|e| self.failed(e))?),
                    None => drop(table.remove(key).map_err(|e| self.failed(e))?),
                }
            }
            Ok(())
        })?;
        *settings = new;
        Ok(())
    }

    /// All that is here, in a new file: nothing of what was removed is in it. That file's store.
    pub(super) fn copied(&self, file: File, settings: &Settings) -> Result<Self> {
        let copy = Self { path: self.path.clone(), database: open(&self.path, file, false)? };
        copy.write(settings, |transaction| {
            let mut to = transaction.open_table(IDENTITIES).map_err(|e| self.failed(e))?;
            self.for_each_value(&mut |key, value| {
                to.insert(key, value).map_err(|e| self.failed(e))?;
                Ok(())
            })
        })?;
        Ok(copy)
    }

    pub(super) fn record(&self, key: Key, dim: usize) -> Result<Option<Record>> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let table = match read.open_table(IDENTITIES) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other.map_err(|e| self.failed(e))?,
        };
        let value = table.get(key).map_err(|e| self.failed(e))?;
        value.map(|value| self.decoded(key, value.value(), dim)).transpose()
    }

    /// Visits all records, by rising key, as they are at one moment.
    pub(super) fn for_each(&self, dim: usize, visit: &mut dyn FnMut(Key, Record) -> Result<()>) -> Result<()> {
        self.for_each_value(&mut |key, value| visit(key, self.decoded(key, value, dim)?))
    }

    /// Visits all records some at a time, by rising key: they are decoded on all threads.
    pub(super) fn for_each_part(
        &self,
        dim: usize,
        visit: &mut dyn FnMut(Vec<(Key, Record)>) -> Result<()>,
    ) -> Result<()> {
        /// Bytes of a part.
        const PART: usize = 8 << 20;
        let (mut part, mut bytes) = (Vec::<(Key, Vec<u8>)>::new(), 0);
        let mut give = |part: &[(Key, Vec<u8>)]| {
            let decoded = part.par_iter().map(|(key, value)| Ok((*key, self.decoded(*key, value, dim)?)));
            visit(decoded.collect::<Result<_>>()?)
        };
        self.for_each_value(&mut |key, value| {
            part.push((key, value.to_vec()));
            bytes += value.len();
            if bytes >= PART {
                give(&part)?;
                (bytes, part) = (0, Vec::new());
            }
            Ok(())
        })?;
        give(&part)
    }

    fn for_each_value(&self, visit: &mut dyn FnMut(Key, &[u8]) -> Result<()>) -> Result<()> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let table = match read.open_table(IDENTITIES) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            other => other.map_err(|e| self.failed(e))?,
        };
        for entry in table.iter().map_err(|e| self.failed(e))? {
            let (key, value) = entry.map_err(|e| self.failed(e))?;
            visit(key.value(), value.value())?;
        }
        Ok(())
    }

    fn decoded(&self, key: Key, value: &[u8], dim: usize) -> Result<Record> {
        let problem = || format!("the record of identity number {key} is damaged: restore it from an export or a copy");
        record::decode(value, dim).ok_or_else(|| Error::Damaged { path: self.path.clone(), problem: problem() })
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
