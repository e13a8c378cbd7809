//! A gallery in memory, gone with its process.

use crate::answer::Candidate;
use crate::plan::Record;
use crate::roster::{Found, Key, Roster};
use crate::{Calibration, Change, Count, Embeddings, Error, Filter, Gallery, Identity, Model, Result, SampleId, Visit};
use dml_eval::identification::Templates;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A gallery in memory, gone with its process: for tests and trials, and for calibration.
pub struct MemoryGallery {
    model: Model,
    templates: Templates,
    state: RwLock<State>,
}

struct State {
    roster: Roster,
    records: BTreeMap<Key, Record>,
    calibration: Option<Calibration>,
}

impl MemoryGallery {
    /// An empty gallery.
    ///
    /// # Errors
    /// When the model's embeddings have length 0.
    pub fn new(model: Model, templates: Templates) -> Result<Self> {
        check_settings(&model)?;
        let roster = Roster::new(model.clone(), templates);
        Ok(Self { model, templates, state: RwLock::new(State { roster, records: BTreeMap::new(), calibration: None }) })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nearest identities by their place in the order of enrolment.
    pub(crate) fn nearest_places(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Found>>> {
        probes.check(&self.model)?;
        self.read().roster.nearest(probes.values, k, filter)
    }
}

/// Refuses settings that no gallery can have.
pub(crate) fn check_settings(model: &Model) -> Result<()> {
    if model.dim == 0 {
        return Err(Error::Input("a model whose embeddings have length 0: say how long they are".to_owned()));
    }
    Ok(())
}

/// Places as candidates.
pub(crate) fn candidates(roster: &Roster, lists: Vec<Vec<Found>>) -> Vec<Vec<Candidate>> {
    let named = |(place, score): Found| Candidate { name: roster.identity(place).name.clone(), score };
    lists.into_iter().map(|list| list.into_iter().map(named).collect()).collect()
}

/// Refuses a list of no candidates.
pub(crate) fn check_length(k: usize) -> Result<()> {
    match k {
        0 => Err(Error::Input("0 candidates were asked for: want 1 or more".to_owned())),
        _ => Ok(()),
    }
}

impl Record {
    pub(crate) fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), metadata: self.metadata.clone(), samples: self.samples.clone() }
    }
}

impl Gallery for MemoryGallery {
    fn model(&self) -> &Model {
        &self.model
    }

    fn templates(&self) -> Templates {
        self.templates
    }

    fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<Vec<SampleId>>> {
        let mut state = self.write();
        let stored = |key: Key| {
            let lost = || Error::Input(format!("identity number {key} has no record"));
            state.records.get(&key).cloned().ok_or_else(lost)
        };
        let update = state.roster.plan(changes, &stored)?;
        state.roster.commit(&update)?;
        for (key, record) in update.touched {
            match record {
                Some(record) => drop(state.records.insert(key, record)),
                None => drop(state.records.remove(&key)),
            }
        }
        Ok(update.samples)
    }

    fn count(&self, filter: &Filter) -> Result<Count> {
        Ok(self.read().roster.count(filter))
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Identity>> {
        Ok(self.read().roster.list(filter))
    }

    fn samples(&self, name: &str) -> Result<(Identity, Vec<f32>)> {
        let state = self.read();
        let record = state.roster.key(name).map(|key| state.records.get(&key))?;
        let record = record.ok_or_else(|| Error::NotEnrolled(name.to_owned()))?;
        Ok((record.identity(), record.values.clone()))
    }

    fn for_each(&self, visit: Visit<'_>) -> Result<()> {
        self.read().records.values().try_for_each(|record| visit(&record.identity(), &record.values))
    }

    fn nearest(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Candidate>>> {
        probes.check(&self.model)?;
        check_length(k)?;
        let state = self.read();
        Ok(candidates(&state.roster, state.roster.nearest(probes.values, k, filter)?))
    }

    fn scores(&self, probes: Embeddings<'_>, names: &[&str]) -> Result<Vec<f32>> {
        probes.check(&self.model)?;
        self.read().roster.scores(probes.values, names)
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        Ok(self.read().calibration.clone())
    }

    fn set_calibration(&self, calibration: Option<&Calibration>) -> Result<()> {
        self.write().calibration = calibration.cloned();
        Ok(())
    }
}
