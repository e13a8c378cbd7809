//! The enrolled in memory: what is searched, and whose each row is. Every back-end that holds its gallery in memory answers by
//! this, and so to the same bits.

use crate::identity::check_words;
use crate::{Change, Count, Error, Filter, Identity, Metadata, Model, Result, SampleId};
use dml_core::{Exclude, Matrix, Metric, Projection, nearest};
use dml_eval::identification::Templates;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Number of an identity, never given twice: the order of enrolment.
pub(crate) type Key = u64;

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

struct Entry {
    key: Key,
    identity: Identity,
    /// Its first row, and how many.
    first: usize,
    rows: usize,
}

pub(crate) struct Roster {
    model: Model,
    templates: Templates,
    entries: Vec<Entry>,
    keys: HashMap<String, Key>,
    /// Rows that are searched, of unit length for cosine; those of an identity stand together, by rising key.
    rows: Vec<f32>,
    /// Place in `entries` of each row.
    owners: Vec<u32>,
    /// The most rows that an identity has had.
    most: usize,
    samples: usize,
    pub(crate) next: Next,
}

/// An identity's place and its score.
pub(crate) type Found = (u32, f32);

impl Roster {
    pub(crate) fn new(model: Model, templates: Templates) -> Self {
        let (entries, keys, rows, owners) = (Vec::new(), HashMap::new(), Vec::new(), Vec::new());
        Self { model, templates, entries, keys, rows, owners, most: 1, samples: 0, next: Next::default() }
    }

    /// Takes in identities from a storage, by rising key.
    pub(crate) fn load(&mut self, records: Vec<(Key, Record)>) -> Result<()> {
        let rows = records.par_iter().map(|(_, record)| self.searched(&record.values));
        let rows: Vec<Vec<f32>> = rows.collect::<Result<_>>()?;
        for ((key, record), rows) in records.into_iter().zip(rows) {
            let Record { name, metadata, samples, .. } = record;
            self.push(key, Identity { name, metadata, samples }, &rows);
        }
        Ok(())
    }

    /// What changes would come to; `stored` reads somebody's record.
    pub(crate) fn plan(&self, changes: &[Change<'_>], stored: &dyn Fn(Key) -> Result<Record>) -> Result<Update> {
        let (touched, templates, next) = (BTreeMap::new(), BTreeMap::new(), self.next);
        let mut update = Update { touched, templates, next, samples: Vec::new(), forgets: false };
        // Names that these changes have given or taken.
        let mut names: HashMap<&str, Option<Key>> = HashMap::new();
        for change in changes {
            let name = change.name();
            let key = names.get(name).copied().unwrap_or_else(|| self.keys.get(name).copied());
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

    /// Makes the changes.
    pub(crate) fn commit(&mut self, update: &Update) {
        self.next = update.next;
        let first_new = self.entries.last().map_or(0, |entry| entry.key + 1);
        if update.touched.keys().any(|&key| key < first_new) {
            self.rebuild(update);
        }
        for (key, record) in update.touched.range(first_new..) {
            if let (Some(record), Some(rows)) = (record, update.templates.get(key)) {
                self.push(*key, record.identity(), rows);
            }
        }
    }

    /// All again, but for what has changed of those who were there.
    fn rebuild(&mut self, update: &Update) {
        let d = self.model.dim;
        let (entries, rows) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.rows));
        self.owners.clear();
        self.samples = 0;
        self.rows.reserve(rows.len());
        for mut entry in entries {
            let new = match update.touched.get(&entry.key) {
                None => &rows[entry.first * d..][..entry.rows * d],
                Some(None) => {
                    // Somebody else may have the name by now.
                    if self.keys.get(&entry.identity.name) == Some(&entry.key) {
                        self.keys.remove(&entry.identity.name);
                    }
                    continue;
                }
                Some(Some(record)) => {
                    entry.identity.samples.clone_from(&record.samples);
                    &update.templates[&entry.key][..]
                }
            };
            (entry.first, entry.rows) = (self.owners.len(), new.len() / d);
            self.rows.extend_from_slice(new);
            self.own(entry);
        }
    }

    pub(crate) fn push(&mut self, key: Key, identity: Identity, rows: &[f32]) {
        self.keys.insert(identity.name.clone(), key);
        let entry = Entry { key, identity, first: self.owners.len(), rows: rows.len() / self.model.dim };
        self.rows.extend_from_slice(rows);
        self.own(entry);
    }

    fn own(&mut self, entry: Entry) {
        self.owners.resize(entry.first + entry.rows, self.entries.len() as u32);
        self.most = self.most.max(entry.rows);
        self.samples += entry.identity.samples.len();
        self.entries.push(entry);
    }

    /// What is searched of somebody's embeddings: the rows of the template, of unit length for cosine.
    fn searched(&self, values: &[f32]) -> Result<Vec<f32>> {
        let samples = Matrix::new(values, values.len() / self.model.dim, self.model.dim)?;
        let all: Vec<usize> = (0..samples.rows()).collect();
        let rows = self.templates.of_rows(self.model.metric, samples, &all);
        if self.model.metric != Metric::Cosine {
            return Ok(rows);
        }
        let kept = rows.len() / self.model.dim;
        let unit = Projection::Unit.apply(Matrix::new(&rows, kept, self.model.dim)?).values;
        match unit.chunks_exact(self.model.dim).any(|row| row.iter().all(|&v| v == 0.0)) {
            true => Err(Error::Input(
                "the samples cancel out, and their mean has no direction: keep all samples as templates, or the medoid"
                    .to_owned(),
            )),
            false => Ok(unit),
        }
    }

    fn place(&self, key: Key) -> Option<usize> {
        self.entries.binary_search_by_key(&key, |entry| entry.key).ok()
    }

    fn entry(&self, key: Key) -> Option<&Entry> {
        self.place(key).map(|place| &self.entries[place])
    }

    pub(crate) fn key(&self, name: &str) -> Result<Key> {
        self.keys.get(name).copied().ok_or_else(|| Error::NotEnrolled(name.to_owned()))
    }

    pub(crate) fn identity(&self, place: u32) -> &Identity {
        &self.entries[place as usize].identity
    }

    pub(crate) fn list(&self, filter: &Filter) -> Vec<Identity> {
        let all = self.entries.iter().map(|entry| &entry.identity);
        all.filter(|identity| filter.admits(&identity.metadata)).cloned().collect()
    }

    pub(crate) fn count(&self, filter: &Filter) -> Count {
        if filter.is_everybody() {
            return Count { identities: self.entries.len(), samples: self.samples };
        }
        let admitted = self.entries.iter().map(|entry| &entry.identity).filter(|who| filter.admits(&who.metadata));
        admitted.fold(Count::default(), |count, who| Count {
            identities: count.identities + 1,
            samples: count.samples + who.samples.len(),
        })
    }

    /// Rows as they are searched, and the metric that compares them.
    fn gallery(&self) -> Result<(Metric, Matrix<'_>)> {
        // Of rows of unit length the product is the cosine, to the same bits, and no search has to scale them again.
        let metric = if self.model.metric == Metric::Cosine { Metric::Dot } else { self.model.metric };
        Ok((metric, Matrix::new(&self.rows, self.owners.len(), self.model.dim)?))
    }

    /// Probes as they are compared with the rows.
    fn probes(&self, probes: Matrix<'_>) -> Vec<f32> {
        let how = if self.model.metric == Metric::Cosine { Projection::Unit } else { Projection::None };
        how.apply(probes).values
    }

    /// The best `k` identities for each probe (`[n, d]`), each by its best row; fewer where fewer are admitted. Equal scores go by
    /// the order of enrolment.
    pub(crate) fn nearest(&self, probes: Matrix<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Found>>> {
        let (metric, gallery) = self.gallery()?;
        let admitted: Option<Vec<bool>> = (!filter.is_everybody())
            .then(|| self.entries.iter().map(|entry| filter.admits(&entry.identity.metadata)).collect());
        let there = admitted.as_ref().map_or(self.entries.len(), |all| all.iter().filter(|&&yes| yes).count());
        let wanted = k.min(there);
        let mut lists = vec![Vec::new(); probes.rows()];
        if wanted == 0 {
            return Ok(lists);
        }
        let hides = |_: usize, row: u32| {
            admitted.as_ref().is_some_and(|admitted| !admitted[self.owners[row as usize] as usize])
        };
        let exclude = if admitted.is_some() { Exclude::Where(&hides) } else { Exclude::Nothing };
        let values = self.probes(probes);
        let mut open: Vec<usize> = (0..probes.rows()).collect();
        // An identity may take several places: lists grow until they hold identities enough.
        let mut length = if self.most == 1 { wanted } else { 2 * wanted };
        while !open.is_empty() {
            length = length.min(gallery.rows());
            let d = self.model.dim;
            let asked: Vec<f32> = open.iter().flat_map(|&q| &values[q * d..(q + 1) * d]).copied().collect();
            let found = nearest(metric, Matrix::new(&asked, open.len(), d)?, gallery, length, exclude)?;
            for (i, &q) in open.iter().enumerate() {
                lists[q] = self.best_rows(found.ids_of(i), found.scores_of(i), wanted);
            }
            open.retain(|&q| lists[q].len() < wanted && length < gallery.rows());
            length = length.saturating_mul(4);
        }
        Ok(lists)
    }

    /// The first row of each of the first `k` identities.
    fn best_rows(&self, rows: &[u32], scores: &[f32], k: usize) -> Vec<Found> {
        let mut list: Vec<Found> = Vec::with_capacity(k);
        let mut seen = std::collections::HashSet::new();
        for (&row, &score) in rows.iter().zip(scores) {
            let owner = self.owners[row as usize];
            if list.len() < k && seen.insert(owner) {
                list.push((owner, score));
            }
        }
        list
    }

    /// The score of each probe (`[n, d]`) with the identity that it claims, by the best row.
    pub(crate) fn scores(&self, probes: Matrix<'_>, claims: &[&str]) -> Result<Vec<f32>> {
        if claims.len() != probes.rows() {
            let (claims, probes) = (claims.len(), probes.rows());
            return Err(Error::Input(format!("{claims} names are claimed by {probes} probes: give one for each")));
        }
        let (metric, gallery) = self.gallery()?;
        let (values, d) = (self.probes(probes), self.model.dim);
        let claimed = |name: &&str| self.key(name).map(|key| self.entry(key));
        let claimed: Vec<Option<&Entry>> = claims.iter().map(claimed).collect::<Result<_>>()?;
        let score = |(entry, probe): (&Option<&Entry>, &[f32])| {
            let Some(entry) = entry else { return Ok(f32::NAN) };
            let rows = Matrix::new(&gallery.data()[entry.first * d..][..entry.rows * d], entry.rows, d)?;
            Ok(nearest(metric, Matrix::new(probe, 1, d)?, rows, 1, Exclude::Nothing)?.scores_of(0)[0])
        };
        claimed.par_iter().zip(values.par_chunks_exact(d)).map(score).collect()
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
