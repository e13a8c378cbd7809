//! What changes would come to, before anything is stored.

use crate::identity::check_words;
use crate::roster::{Key, Roster};
use crate::{Change, Error, Metadata, Result, SampleId};
use std::collections::{BTreeMap, HashMap};

/// An identity with its embeddings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    pub(crate) samples: Vec<SampleId>,
    /// `[samples, d]`, as they were enrolled.
    pub(crate) values: Vec<f32>,
}

/// Numbers that were not given yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) key: Key,
    pub(crate) sample: SampleId,
}

/// What changes come to: identities as they will be, `None` where they will not be there.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) touched: BTreeMap<Key, Option<Record>>,
    /// Rows that will be searched, of those who will be there.
    pub(crate) templates: BTreeMap<Key, Vec<f32>>,
    pub(crate) next: Next,
    /// For each change the samples that it adds or takes away.
    pub(crate) samples: Vec<Vec<SampleId>>,
    /// Whether something that was known is to be forgotten.
    pub(crate) forgets: bool,
}

impl Roster {
    /// What changes would come to; `stored` reads somebody's record.
    pub(crate) fn plan(&self, changes: &[Change<'_>], stored: &dyn Fn(Key) -> Result<Record>) -> Result<Update> {
        let (touched, templates, next) = (BTreeMap::new(), BTreeMap::new(), self.next);
        let mut update = Update { touched, templates, next, samples: Vec::new(), forgets: false };
        // Names that these changes have given or taken.
        let mut names: HashMap<&str, Option<Key>> = HashMap::new();
        for change in changes {
            let name = change.name();
            let key = names.get(name).copied().unwrap_or_else(|| self.known(name));
            let known = || key.ok_or_else(|| Error::NotEnrolled(name.to_owned()));
            let samples = match change {
                Change::Enrol { metadata, .. } => {
                    if key.is_some() {
                        return Err(Error::AlreadyEnrolled(name.to_owned()));
                    }
                    check_words(name, metadata)?;
                    let record = Record {
                        name: name.to_owned(),
                        metadata: metadata.clone(),
                        samples: Vec::new(),
                        values: Vec::new(),
                    };
                    let new = update.next.key;
                    names.insert(name, Some(new));
                    update.touched.insert(new, Some(record));
                    update.next.key += 1;
                    self.add(&mut update, new, change)?
                }
                Change::AddSamples { .. } => {
                    let key = known()?;
                    update.fetch(key, stored)?;
                    self.add(&mut update, key, change)?
                }
                Change::RemoveSamples { samples, .. } => {
                    let key = known()?;
                    let record = update.fetch(key, stored)?;
                    take_away(record, samples, self.model.dim)?;
                    update.forgets = true;
                    samples.to_vec()
                }
                Change::Remove { .. } => {
                    let key = known()?;
                    let gone = match update.touched.insert(key, None) {
                        Some(record) => record.map_or_else(Vec::new, |record| record.samples),
                        None => self.entry(key).map_or_else(Vec::new, |entry| entry.identity.samples.clone()),
                    };
                    names.insert(name, None);
                    update.forgets = true;
                    gone
                }
            };
            update.samples.push(samples);
        }
        let rows = |(&key, record): (&Key, &Option<Record>)| {
            record.as_ref().map(|record| Ok((key, self.searched(&record.values).map_err(|e| named(e, &record.name))?)))
        };
        update.templates = update.touched.iter().filter_map(rows).collect::<Result<_>>()?;
        Ok(update)
    }

    fn add(&self, update: &mut Update, key: Key, change: &Change<'_>) -> Result<Vec<SampleId>> {
        let (Change::Enrol { embeddings, name, .. } | Change::AddSamples { embeddings, name }) = change else {
            return Ok(Vec::new());
        };
        embeddings.check(&self.model).map_err(|error| named(error, name))?;
        let count = embeddings.values.rows() as u64;
        if count == 0 {
            return Err(Error::Input(format!("{name:?} is given no sample: give one or more")));
        }
        let ids: Vec<SampleId> = (update.next.sample..update.next.sample + count).collect();
        update.next.sample += count;
        if let Some(Some(record)) = update.touched.get_mut(&key) {
            record.samples.extend(&ids);
            record.values.extend_from_slice(embeddings.values.data());
        }
        Ok(ids)
    }
}

impl Update {
    /// Somebody's record, as the changes before have left it.
    fn fetch(&mut self, key: Key, stored: &dyn Fn(Key) -> Result<Record>) -> Result<&mut Record> {
        if let std::collections::btree_map::Entry::Vacant(place) = self.touched.entry(key) {
            place.insert(Some(stored(key)?));
        }
        let record = self.touched.get_mut(&key).and_then(Option::as_mut);
        record.ok_or_else(|| Error::Input("somebody was removed and changed at once: change, then remove".to_owned()))
    }
}

fn take_away(record: &mut Record, samples: &[SampleId], d: usize) -> Result<()> {
    for sample in samples {
        let Some(at) = record.samples.iter().position(|id| id == sample) else {
            return Err(Error::Input(format!("{:?} has no sample {sample}: it has {:?}", record.name, record.samples)));
        };
        record.samples.remove(at);
        record.values.drain(at * d..(at + 1) * d);
    }
    match record.samples.is_empty() {
        true => Err(Error::Input(format!("{:?} would be left without a sample: remove the identity", record.name))),
        false => Ok(()),
    }
}

/// Says whose embeddings were refused.
fn named(error: Error, name: &str) -> Error {
    match error {
        Error::Embedding { row, problem } => Error::Embedding { row, problem: format!("of {name:?} {problem}") },
        Error::Input(problem) => Error::Input(format!("{name:?}: {problem}")),
        other => other,
    }
}
