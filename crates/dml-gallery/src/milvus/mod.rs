//! A gallery in Milvus: for many processes and machines at once, in a server that may be many machines itself.

mod address;
mod line;
mod log;
mod search;
mod table;
mod tables;
mod write;

use crate::answer::Candidate;
use crate::memory::{candidates, check_length, check_settings};
use crate::roster::Key;
use crate::searched::compared;
use crate::server::{self, check_name};
use crate::{
    Calibration, Change, Count, Embeddings, Error, Filter, Gallery, Identity, Model, Result, SampleId, ServerProblem,
    Visit,
};
pub use address::MilvusServer;
use dml_eval::identification::Templates;
use line::Line;
use log::{Claim, Committed, Log, Silence, State};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use table::{LONGEST_VECTOR, Table, windows};
use tables::{NO_EMBEDDING, Tables, names};

/// For how long a writer may be silent before it is taken for dead, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gallery in three collections `dml_<name>_…` of a Milvus, version 2.3 or later.
///
/// A change is whole or not there, and durable when the call returns. Any number of processes may have the gallery open: those
/// that change it wait for each other, those that ask see what was committed, whole. Nothing is held in memory; each search is
/// the server's work, exact, and the scores of those it finds are taken here, to the bit those of every other gallery. Every call
/// waits once or more until the server knows all that was written before (its `timeTickInterval`, 200 ms unless set).
///
/// A visitor of [`for_each`](Gallery::for_each) changes nothing: it would wait for itself. Calls wait for the server; within an
/// asynchronous runtime make them from a thread for blocking work.
pub struct MilvusGallery {
    line: Line,
    /// Of the collections.
    names: [String; 3],
    model: Model,
    templates: Templates,
    log: Log,
    patience: Duration,
    /// Who writes in this process.
    writer: Mutex<()>,
}

impl MilvusGallery {
    /// A new, empty gallery.
    ///
    /// ```no_run
    /// # use dml_gallery::{MilvusGallery, Model, Templates};
    /// # fn make(model: Model) -> dml_gallery::Result<()> {
    /// let server = "milvus://dml@milvus.example/people".parse()?;
    /// let gallery = MilvusGallery::create(&server, "staff", model, Templates::PerImage)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the server does not answer or refuses, has such a gallery, or does not compare by the metric; when embeddings are
    /// longer than 32,768, or the name is not of small letters, digits and `_`.
    pub fn create(server: &MilvusServer, name: &str, model: Model, templates: Templates) -> Result<Self> {
        check_name(name)?;
        check_settings(&model)?;
        table::compared(model.metric)?;
        if !(2..=LONGEST_VECTOR).contains(&model.dim) {
            let dim = model.dim;
            return Err(Error::Input(format!(
                "embeddings have length {dim}, Milvus' vectors 2 to {LONGEST_VECTOR}: keep this gallery in a file"
            )));
        }
        let (line, names) = (Line::new(server, name)?, names(name));
        let tables = Tables::new(&line, &names, model.dim);
        if tables.states.exists()? {
            tables.states.load()?;
            match Log::open(&tables.states) {
                // What is left of a gallery that was never made whole.
                Err(Error::Server { problem: ServerProblem::Missing, .. }) => tables.states.discard()?,
                Err(error) => return Err(error),
                Ok(_) => return Err(line.problem(ServerProblem::Exists)),
            }
        }
        for table in [&tables.samples, &tables.templates] {
            if table.exists()? {
                table.discard()?;
            }
        }
        tables.each(|table| {
            // Who writes is settled by the order of rows in one shard.
            let shards = if table.name == tables.states.name { 1 } else { server.shards };
            table.create(model.metric, shards)
        })?;
        let log = Log::create(&tables.states, model.clone(), templates)?;
        Ok(Self { line, names, model, templates, log, patience: PATIENCE, writer: Mutex::new(()) })
    }

    /// The gallery of this name.
    ///
    /// # Errors
    /// When the server does not answer or refuses, there is no such gallery, or another version made it.
    pub fn open(server: &MilvusServer, name: &str) -> Result<Self> {
        check_name(name)?;
        let (line, names) = (Line::new(server, name)?, names(name));
        let states = Table { line: &line, name: &names[0], dim: NO_EMBEDDING };
        if !states.exists()? {
            return Err(line.problem(ServerProblem::Missing));
        }
        states.load()?;
        let log = Log::open(&states)?;
        let Committed { model, templates, .. } = log.known().1.committed;
        Tables::new(&line, &names, model.dim).each(Table::load)?;
        Ok(Self { line, names, model, templates, log, patience: PATIENCE, writer: Mutex::new(()) })
    }

    /// Drops the gallery of this name, with all that it holds.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or there is no such gallery.
    pub fn destroy(server: &MilvusServer, name: &str) -> Result<()> {
        check_name(name)?;
        let (line, names) = (Line::new(server, name)?, names(name));
        let tables = Tables::new(&line, &names, NO_EMBEDDING);
        if !tables.states.exists()? {
            return Err(line.problem(ServerProblem::Missing));
        }
        for table in tables.all() {
            if table.exists()? {
                table.discard()?;
            }
        }
        Ok(())
    }

    /// The same gallery, where a process that writes is taken for dead once it was silent for so long, and what it had begun is
    /// given up. Default 20 s. All processes must agree; an answer that takes a server longer than that ends a change.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Has the server write its files anew without what was removed, and waits until it has. A removal asks for that, too, and
    /// does not wait.
    ///
    /// # Errors
    /// When the server fails, or does not end within ten minutes.
    pub fn compact(&self) -> Result<()> {
        let failed = |why: String| self.line.problem(ServerProblem::NotErased(why));
        let begun = self.begin_to_compact().map_err(|error| failed(error.to_string()))?;
        for _ in 0..1200 {
            let states = begun.iter().map(|&id| self.line.order(|client| client.get_compaction_state(id)));
            let states = states.collect::<Result<Vec<_>>>().map_err(|error| failed(error.to_string()))?;
            if states.iter().all(|state| state.executing_plan_num == 0) {
                return match states.iter().any(|state| state.failed_plan_num + state.timeout_plan_num > 0) {
                    true => Err(failed("a compaction failed".to_owned())),
                    false => Ok(()),
                };
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Err(failed("compaction takes more than ten minutes".to_owned()))
    }

    fn begin_to_compact(&self) -> Result<[i64; 2]> {
        let [_, samples, templates] = &self.names;
        self.line.order(|client| client.flush_collections([samples, templates]))?;
        let begin = |name: &String| self.line.order(|client| client.manual_compaction(name.clone(), None));
        Ok([begin(samples)?.id, begin(templates)?.id])
    }

    fn tables(&self) -> Tables<'_> {
        Tables::new(&self.line, &self.names, self.model.dim)
    }

    /// Asks something of a state. The rows that it is asked of are those of the state if that is still the newest afterwards:
    /// nothing is deleted before a newer one is there.
    fn read<T>(&self, work: impl Fn(&Tables<'_>, &State) -> Result<T>) -> Result<T> {
        let (tables, mut silence) = (self.tables(), Silence::new());
        let (_, mut state) = self.log.known();
        loop {
            let answer = state.committed.settled.then(|| work(&tables, &state));
            let (pk, now) = self.log.now(&tables.states)?;
            match answer {
                Some(answer) if now.committed == state.committed => return answer,
                _ => {}
            }
            // Whoever was about to settle it has died.
            if !now.committed.settled && (!now.claimed || silence.lasts(pk, self.patience)) {
                self.write(|_, _| Ok(()))?;
            }
            state = now;
        }
    }

    /// Writes, as the only one.
    fn write<T>(&self, work: impl FnOnce(&Tables<'_>, &mut Claim<'_>) -> Result<T>) -> Result<T> {
        let _only = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = self.tables();
        let mut claim = self.log.claim(&tables.states, self.patience)?;
        let done = write::settle(&tables, &mut claim).and_then(|()| work(&tables, &mut claim));
        if claim.unsure {
            // It may be made after all: whoever writes next will see.
            return done;
        }
        if done.is_err() && claim.wrote {
            claim.state.forget_attempt();
            // What is left is seen by nobody, and goes with the next who cleans.
            let _ = write::clean(&tables, &mut claim);
        }
        let ended = claim.end();
        done.and_then(|done| ended.map(|()| done))
    }
}

impl Gallery for MilvusGallery {
    fn model(&self) -> &Model {
        &self.model
    }

    fn templates(&self) -> Templates {
        self.templates
    }

    fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<Vec<SampleId>>> {
        write::check_texts(changes)?;
        let update = self.write(|tables, claim| {
            let update = write::apply(tables, claim, &self.model, self.templates, changes)?;
            write::settle(tables, claim)
                .map_err(|error| self.line.problem(ServerProblem::NotErased(error.to_string())))?;
            Ok(update)
        })?;
        if update.forgets {
            // It does so by itself, too, in its own time: nothing that was removed is found meanwhile.
            let _ = self.begin_to_compact();
        }
        Ok(update.samples)
    }

    fn count(&self, filter: &Filter) -> Result<Count> {
        if filter.is_everybody() {
            let Committed { identities, samples, .. } = self.log.now(&self.tables().states)?.1.committed;
            return Ok(Count { identities: identities as usize, samples: samples as usize });
        }
        self.read(|tables, state| {
            let mut count = Count::default();
            for keys in windows(state.committed.next_key, 50_000) {
                let wanted = search::condition(state, filter);
                let among = format!("key >= {} and key < {} and {wanted}", keys.start, keys.end);
                let rows = tables.samples.query(&among, &["key"], state.at())?;
                count.samples += rows.len();
                count.identities += rows.iter().map(|row| row.key).collect::<BTreeSet<i64>>().len();
            }
            Ok(count)
        })
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Identity>> {
        self.read(|tables, state| {
            let mut all = Vec::new();
            for keys in windows(state.committed.next_key, write::WIDTH) {
                let wanted = search::condition(state, filter);
                let among = format!("key >= {} and key < {} and {wanted}", keys.start, keys.end);
                let rows = tables.samples.query(&among, &["key", "number", "text"], state.at())?;
                all.extend(write::records(rows, &tables.samples)?.into_values().map(|record| record.identity()));
            }
            Ok(all)
        })
    }

    fn samples(&self, name: &str) -> Result<(Identity, Vec<f32>)> {
        self.read(|tables, state| {
            let found = write::of_names(tables, state, &BTreeSet::from([name]))?;
            let record = found.into_values().next().ok_or_else(|| Error::NotEnrolled(name.to_owned()))?;
            Ok((record.identity(), record.values))
        })
    }

    /// As the only one who writes: nobody changes anything until the visit has ended.
    fn for_each(&self, visit: Visit<'_>) -> Result<()> {
        self.write(|tables, claim| {
            for keys in windows(claim.state.committed.next_key, write::WIDTH) {
                let state = &claim.state;
                let among = format!("key >= {} and key < {} and {}", keys.start, keys.end, state.condition());
                let rows = tables.samples.whole(&among, state.at())?;
                for record in write::records(rows, &tables.samples)?.into_values() {
                    visit(&record.identity(), &record.values)?;
                }
                claim.keep()?;
            }
            Ok(())
        })
    }

    fn nearest(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Candidate>>> {
        probes.check(&self.model)?;
        check_length(k)?;
        let values = compared(&self.model, probes.values);
        self.read(|tables, state| {
            let Some(lists) = search::nearest(tables, state, &self.model, &values, k, filter)? else {
                let searched = search::everybody(tables, state, filter)?;
                let who = searched.iter().map(|(&key, found)| (key, found));
                let roster = server::roster(&self.model, self.templates, who)?;
                return Ok(candidates(&roster, roster.nearest(probes.values, k, &Filter::everybody())?));
            };
            let keys: BTreeSet<Key> = lists.iter().flatten().copied().collect();
            let keys: Vec<i64> = keys.into_iter().map(|key| key as i64).collect();
            let searched = search::searched(tables, state, "key", &keys)?;
            let probes = probes.values.data().chunks_exact(self.model.dim);
            let best = |(probe, named)| server::best(&self.model, self.templates, probe, k, named, &searched);
            probes.zip(lists).map(best).collect()
        })
    }

    fn scores(&self, probes: Embeddings<'_>, names: &[&str]) -> Result<Vec<f32>> {
        probes.check(&self.model)?;
        let hashes: BTreeSet<i64> = names.iter().map(|name| write::hash_of(name)).collect();
        let hashes: Vec<i64> = hashes.into_iter().collect();
        self.read(|tables, state| {
            let searched = search::searched(tables, state, "name", &hashes)?;
            let who = searched.iter().map(|(&key, found)| (key, found));
            server::roster(&self.model, self.templates, who)?.scores(probes.values, names)
        })
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        Ok(self.log.now(&self.tables().states)?.1.committed.calibration)
    }

    fn set_calibration(&self, calibration: Option<&Calibration>) -> Result<()> {
        self.write(|_, claim| {
            let old = claim.state.committed.clone();
            claim.commit(Committed { calibration: calibration.cloned(), ..old })
        })
    }
}
