//! The enrolled in memory: what is searched, and whose each row is. Every back-end that holds its gallery in memory answers by
//! this, and so to the same bits.

use crate::plan::{Next, Update};
use crate::searched::{Part, compared, kept, scaled};
use crate::{Count, Error, Filter, Identity, Model, Result};
use dml_core::{Exclude, Matrix, Metric, Nearest, Panels};
use dml_eval::identification::Templates;
use hashbrown::HashTable;
use rayon::prelude::*;
use std::hash::{BuildHasher, RandomState};

/// Number of an identity, never given twice: the order of enrolment.
pub(crate) type Key = u64;

pub(crate) struct Entry {
    key: Key,
    pub(crate) identity: Identity,
    /// Its first row, and how many.
    first: usize,
    rows: usize,
}

pub(crate) struct Roster {
    pub(crate) model: Model,
    templates: Templates,
    entries: Vec<Entry>,
    /// Places in `entries` by name.
    places: HashTable<u32>,
    hasher: RandomState,
    /// Rows that are searched, of unit length for cosine; those of an identity stand together, by rising key.
    pub(crate) rows: Panels,
    /// Place in `entries` of each row.
    owners: Vec<u32>,
    /// The most rows that an identity has had.
    most: usize,
    samples: usize,
    pub(crate) next: Next,
    /// How often somebody who was there has changed: as long as nobody has, rows keep their numbers.
    pub(crate) revision: u64,
}

/// An identity's place and its score.
pub(crate) type Found = (u32, f32);

impl Roster {
    pub(crate) fn new(model: Model, templates: Templates) -> Self {
        let rows = no_rows(&model);
        Self {
            model,
            templates,
            entries: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::new(),
            rows,
            owners: Vec::new(),
            most: 1,
            samples: 0,
            next: Next::default(),
            revision: 0,
        }
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, identities: usize, samples: usize) {
        let rows = if self.templates == Templates::PerImage { samples } else { identities };
        self.entries.reserve(identities);
        self.places.reserve(identities, |&place| hash(&self.hasher, &self.entries, place));
        self.owners.reserve(rows);
        self.rows.reserve(rows);
    }

    /// Takes in identities from a storage, by rising key.
    pub(crate) fn load(&mut self, parts: Vec<Part>) -> Result<()> {
        let (d, mut panels) = (self.model.dim, std::mem::replace(&mut self.rows, no_rows(&self.model)));
        let (rows, owners): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.rows, part.owners)).unzip();
        let (placed, ()) = rayon::join(
            || rows.iter().try_for_each(|rows| panels.push(Matrix::new(rows, rows.len() / d, d)?)),
            || owners.into_iter().flatten().for_each(|(key, identity, rows)| self.own(key, identity, rows)),
        );
        self.rows = panels;
        Ok(placed?)
    }

    /// Makes the changes.
    pub(crate) fn commit(&mut self, update: &Update) -> Result<()> {
        self.next = update.next;
        let first_new = self.entries.last().map_or(0, |entry| entry.key + 1);
        if update.touched.keys().any(|&key| key < first_new) {
            self.rebuild(update)?;
            self.revision += 1;
        }
        for (key, record) in update.touched.range(first_new..) {
            if let (Some(record), Some(rows)) = (record, update.templates.get(key)) {
                self.push(*key, record.identity(), rows)?;
            }
        }
        Ok(())
    }

    /// All again, but for what has changed of those who were there.
    fn rebuild(&mut self, update: &Update) -> Result<()> {
        let (entries, rows) =
            (std::mem::take(&mut self.entries), std::mem::replace(&mut self.rows, no_rows(&self.model)));
        self.owners.clear();
        self.places.clear();
        self.samples = 0;
        self.rows.reserve(rows.rows());
        for mut entry in entries {
            let before = self.rows.rows();
            match update.touched.get(&entry.key) {
                None => self.rows.push_from(&rows, entry.first..entry.first + entry.rows)?,
                Some(None) => continue,
                Some(Some(record)) => {
                    entry.identity.samples.clone_from(&record.samples);
                    self.append(&update.templates[&entry.key])?;
                }
            }
            self.place_entry(Entry { first: before, rows: self.rows.rows() - before, ..entry });
        }
        Ok(())
    }

    /// Adds an identity and its rows.
    pub(crate) fn push(&mut self, key: Key, identity: Identity, rows: &[f32]) -> Result<()> {
        self.append(rows)?;
        self.own(key, identity, rows.len() / self.model.dim);
        Ok(())
    }

    fn append(&mut self, rows: &[f32]) -> Result<()> {
        Ok(self.rows.push(Matrix::new(rows, rows.len() / self.model.dim, self.model.dim)?)?)
    }

    /// Adds the owner of so many rows.
    fn own(&mut self, key: Key, identity: Identity, rows: usize) {
        self.place_entry(Entry { key, identity, first: self.owners.len(), rows });
    }

    fn place_entry(&mut self, entry: Entry) {
        let place = self.entries.len() as u32;
        self.owners.resize(entry.first + entry.rows, place);
        self.most = self.most.max(entry.rows);
        self.samples += entry.identity.samples.len();
        self.entries.push(entry);
        let hash = |&place: &u32| hash(&self.hasher, &self.entries, place);
        self.places.insert_unique(hash(&place), place, hash);
    }

    /// What is searched of somebody's embeddings: the rows of the template, of unit length for cosine.
    pub(crate) fn searched(&self, values: &[f32]) -> Result<Vec<f32>> {
        scaled(&self.model, kept(&self.model, self.templates, values)?.into_owned())
    }

    fn named(&self, name: &str) -> Option<&Entry> {
        let place = self.places.find(self.hasher.hash_one(name), |&place| self.identity(place).name == name)?;
        Some(&self.entries[*place as usize])
    }

    /// The number of who has the name.
    pub(crate) fn known(&self, name: &str) -> Option<Key> {
        self.named(name).map(|entry| entry.key)
    }

    pub(crate) fn entry(&self, key: Key) -> Option<&Entry> {
        let place = self.entries.binary_search_by_key(&key, |entry| entry.key).ok();
        place.map(|place| &self.entries[place])
    }

    pub(crate) fn key(&self, name: &str) -> Result<Key> {
        self.known(name).ok_or_else(|| Error::NotEnrolled(name.to_owned()))
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

    /// The best `k` identities for each probe (`[n, d]`), each by its best row; fewer where fewer are admitted. Equal scores go by
    /// the order of enrolment.
    pub(crate) fn nearest(&self, probes: Matrix<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Found>>> {
        self.nearest_by(probes, k, filter, &|probes, length, exclude| {
            Ok(self.rows.nearest(0..self.rows.rows(), probes, length, exclude)?)
        })
    }

    /// The same by a search of so many rows for each probe, as it is compared.
    pub(crate) fn nearest_by(
        &self,
        probes: Matrix<'_>,
        k: usize,
        filter: &Filter,
        search: &dyn Fn(Matrix<'_>, usize, Exclude<'_>) -> Result<Nearest>,
    ) -> Result<Vec<Vec<Found>>> {
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
        let values = compared(&self.model, probes);
        let mut open: Vec<usize> = (0..probes.rows()).collect();
        // An identity may take several places: lists grow until they hold identities enough.
        let mut length = if self.most == 1 { wanted } else { 2 * wanted };
        while !open.is_empty() {
            length = length.min(self.rows.rows());
            let d = self.model.dim;
            let asked: Vec<f32> = open.iter().flat_map(|&q| &values[q * d..(q + 1) * d]).copied().collect();
            let found = search(Matrix::new(&asked, open.len(), d)?, length, exclude)?;
            for (i, &q) in open.iter().enumerate() {
                lists[q] = self.best_rows(found.ids_of(i), found.scores_of(i), wanted);
            }
            open.retain(|&q| lists[q].len() < wanted && length < self.rows.rows());
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
        let (values, d) = (compared(&self.model, probes), self.model.dim);
        let claimed = |name: &&str| self.named(name).ok_or_else(|| Error::NotEnrolled((*name).to_owned()));
        let claimed: Vec<&Entry> = claims.iter().map(claimed).collect::<Result<_>>()?;
        let better = if self.model.metric.is_similarity() { f32::max } else { f32::min };
        let score = |(entry, probe): (&&Entry, &[f32])| {
            let scores = self.rows.scores(Matrix::new(probe, 1, d)?, entry.first..entry.first + entry.rows)?;
            Ok(scores.into_iter().reduce(better).unwrap_or(f32::NAN))
        };
        claimed.par_iter().zip(values.par_chunks_exact(d)).map(score).collect()
    }
}

fn hash(hasher: &RandomState, entries: &[Entry], place: u32) -> u64 {
    hasher.hash_one(&entries[place as usize].identity.name[..])
}

/// Nobody's rows, to be searched as the model compares.
fn no_rows(model: &Model) -> Panels {
    // Of rows of unit length the product is the cosine, and no search has to scale them again.
    let metric = if model.metric == Metric::Cosine { Metric::Dot } else { model.metric };
    Panels::new(metric, model.dim)
}
