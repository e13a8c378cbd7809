//! What a gallery is at each moment, and who may change it: the newest row of a collection of its own.
//!
//! Milvus has neither transactions nor compare-and-set, but a row is inserted whole or not at all, and a strong question sees all
//! that was inserted before. So the state is a row, numbered; a new state is a new row with the next number, and the newest
//! holds. Who wants to write inserts a state that says so (a claim) and asks again: only if nobody else has inserted one beside
//! or after it, the claim is won. Who lost takes the claim back and waits. A claim that stays the same for long is of a process
//! that has died, and another may be made over it; no clocks are compared.
//!
//! The rows that a writer adds carry the number of its attempt, given to no other, and nobody sees them until a state has that
//! number as its batch.

use super::table::{At, Row, Table};
use crate::{Calibration, Error, Model, Result, SampleId, ServerProblem};
use dml_eval::identification::Templates;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of this layout.
pub(super) const LAYOUT: i64 = 1;
/// Numbers of rows leave so many bits for what tells two apart that have the same number.
const NONCE: u32 = 20;
/// Attempts that died and are remembered.
const REMEMBERED: usize = 64;
/// Between two questions whether a claim is given up.
const WAIT: Duration = Duration::from_millis(30);

/// What everybody sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) model: Model,
    pub(super) templates: Templates,
    pub(super) calibration: Option<Calibration>,
    /// The last attempt that was made whole; 0 in the beginning.
    pub(super) batch: i64,
    /// The server's stamp of the last of its rows.
    pub(super) stamp: u64,
    /// Whether rows that this batch replaces are gone.
    pub(super) settled: bool,
    pub(super) next_key: u64,
    pub(super) next_sample: SampleId,
    pub(super) identities: u64,
    pub(super) samples: u64,
}

/// A state of a gallery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) layout: i64,
    /// Whether somebody is writing.
    pub(super) claimed: bool,
    /// The number of their attempt, while it is not made whole.
    pub(super) attempt: Option<i64>,
    /// The number of the next.
    pub(super) next: i64,
    /// Attempts that died, whose rows nobody may see.
    pub(super) dead: Vec<i64>,
    pub(super) committed: Committed,
}

impl State {
    pub(super) fn new(model: Model, templates: Templates) -> Self {
        let committed = Committed {
            model,
            templates,
            calibration: None,
            batch: 0,
            stamp: 0,
            settled: true,
            next_key: 0,
            next_sample: 0,
            identities: 0,
            samples: 0,
        };
        Self { layout: LAYOUT, claimed: false, attempt: None, next: 1, dead: Vec::new(), committed }
    }

    /// Of which rows this state consists.
    pub(super) fn condition(&self) -> String {
        let batch = self.committed.batch;
        let dead: Vec<i64> = self.dead.iter().copied().filter(|&dead| dead < batch).collect();
        match dead.is_empty() {
            true => format!("batch <= {batch}"),
            false => format!("batch <= {batch} and batch not in [{}]", super::table::listed(&dead)),
        }
    }

    /// From when on all of its rows are known.
    pub(super) fn at(&self) -> At {
        At::Since(self.committed.stamp)
    }

    /// What was not made whole is never seen.
    pub(super) fn forget_attempt(&mut self) {
        self.dead.extend(self.attempt.take());
        let old = self.dead.len().saturating_sub(REMEMBERED);
        self.dead.drain(..old);
    }
}

fn number(pk: i64) -> i64 {
    pk >> NONCE
}

/// Some number.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A number for a row after `pk`.
fn after(pk: i64) -> i64 {
    ((number(pk) + 1) << NONCE) | (chance() & ((1 << NONCE) - 1)) as i64
}

/// The states of a gallery.
pub(super) struct Log {
    /// The newest that was seen.
    known: Mutex<(i64, State)>,
}

impl Log {
    /// The log of a new gallery.
    pub(super) fn create(table: &Table<'_>, model: Model, templates: Templates) -> Result<Self> {
        let (pk, state) = (after(0), State::new(model, templates));
        insert(table, pk, &state)?;
        if read(table)?.iter().any(|(other, _)| *other != pk) {
            table.delete(&[pk], &mut || Ok(()))?;
            return Err(table.line.problem(ServerProblem::Exists));
        }
        Ok(Self { known: Mutex::new((pk, state)) })
    }

    pub(super) fn open(table: &Table<'_>) -> Result<Self> {
        Ok(Self { known: Mutex::new(newest(table, read(table)?)?) })
    }

    /// The newest state that was seen.
    pub(super) fn known(&self) -> (i64, State) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest state.
    pub(super) fn now(&self, table: &Table<'_>) -> Result<(i64, State)> {
        let found = newest(table, read(table)?)?;
        self.see(&found);
        Ok(found)
    }

    fn see(&self, found: &(i64, State)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 < found.0 {
            known.clone_from(found);
        }
    }

    /// The right to write, once nobody else has it.
    pub(super) fn claim<'a>(&'a self, table: &'a Table<'a>, patience: Duration) -> Result<Claim<'a>> {
        let mut found = self.known();
        let mut same = Silence::new();
        loop {
            let silent = same.lasts(found.0, patience);
            if found.1.claimed && !silent {
                std::thread::sleep(WAIT);
                found = self.now(table)?;
                continue;
            }
            let mut state = found.1.clone();
            state.forget_attempt();
            (state.claimed, state.attempt, state.next) = (true, Some(state.next), state.next + 1);
            let (pk, moved) = (after(found.0), Instant::now());
            insert(table, pk, &state)?;
            let rows = read(table)?;
            let mine = rows.iter().any(|(other, _)| *other == pk);
            let alone = rows.iter().all(|(other, _)| *other == pk || number(*other) < number(pk));
            if mine && alone {
                let old: Vec<i64> = rows.into_iter().map(|(other, _)| other).filter(|&other| other != pk).collect();
                let _ = table.delete(&old, &mut || Ok(()));
                self.see(&(pk, state.clone()));
                return Ok(Claim {
                    log: self,
                    table,
                    pk,
                    state,
                    moved,
                    patience,
                    cleans: silent,
                    wrote: false,
                    unsure: false,
                });
            }
            table.delete(&[pk], &mut || Ok(()))?;
            std::thread::sleep(WAIT + Duration::from_millis(chance() % 300));
            found = newest(table, rows.into_iter().filter(|(other, _)| *other != pk).collect())?;
        }
    }
}

/// For how long a state has been the newest.
pub(super) struct Silence(Option<(i64, Instant)>);

impl Silence {
    pub(super) fn new() -> Self {
        Self(None)
    }

    pub(super) fn lasts(&mut self, pk: i64, patience: Duration) -> bool {
        match self.0 {
            Some((last, since)) if last == pk => since.elapsed() >= patience,
            _ => {
                self.0 = Some((pk, Instant::now()));
                false
            }
        }
    }
}

fn insert(table: &Table<'_>, pk: i64, state: &State) -> Result<u64> {
    let text = serde_json::to_string(state).map_err(|e| Error::Input(e.to_string()))?;
    let row = Row { pk, text, values: vec![0.0; table.dim], ..Row::default() };
    table.insert(&[row], &mut || Ok(()))
}

fn read(table: &Table<'_>) -> Result<Vec<(i64, State)>> {
    #[derive(Deserialize)]
    struct Layout {
        layout: i64,
    }
    let state = |row: Row| {
        let odd = |e: serde_json::Error| table.line.problem(ServerProblem::Said(format!("its state is damaged: {e}")));
        let found = serde_json::from_str::<Layout>(&row.text).map_err(odd)?.layout;
        if found != LAYOUT {
            return Err(table.line.problem(ServerProblem::Layout { found, known: LAYOUT }));
        }
        Ok((row.pk, serde_json::from_str(&row.text).map_err(odd)?))
    };
    table.query("pk >= 0", &["text"], At::Now)?.into_iter().map(state).collect()
}

fn newest(table: &Table<'_>, rows: Vec<(i64, State)>) -> Result<(i64, State)> {
    let newest = rows.into_iter().max_by_key(|(pk, _)| *pk);
    newest.ok_or_else(|| table.line.problem(ServerProblem::Missing))
}

/// The right to write. Whoever has it keeps saying that they live.
pub(super) struct Claim<'a> {
    log: &'a Log,
    table: &'a Table<'a>,
    pk: i64,
    pub(super) state: State,
    moved: Instant,
    patience: Duration,
    /// Whether somebody has died over it, and may have left rows.
    pub(super) cleans: bool,
    /// Whether rows were written.
    pub(super) wrote: bool,
    /// Whether a state was inserted, or not: nobody has said.
    pub(super) unsure: bool,
}

impl Claim<'_> {
    /// The number that rows are written with.
    pub(super) fn attempt(&self) -> i64 {
        self.state.attempt.unwrap_or(self.state.committed.batch)
    }

    /// To be called every now and then.
    pub(super) fn keep(&mut self) -> Result<()> {
        match self.moved.elapsed() > self.patience / 4 {
            true => self.put(self.state.clone()).map(drop),
            false => Ok(()),
        }
    }

    /// Makes the attempt's rows seen.
    pub(super) fn commit(&mut self, committed: Committed) -> Result<()> {
        let state = State { attempt: None, claimed: !committed.settled, committed, ..self.state.clone() };
        match self.put(state) {
            Err(Error::Server { place, problem }) if problem != ServerProblem::Overtaken => {
                self.unsure = true;
                Err(Error::Server { place, problem: ServerProblem::Unanswered(problem.to_string()) })
            }
            other => other.map(drop),
        }
    }

    /// Lets others write.
    pub(super) fn end(&mut self) -> Result<()> {
        if !self.state.claimed {
            return Ok(());
        }
        self.put(State { claimed: false, attempt: None, ..self.state.clone() }).map(drop)
    }

    /// Makes this the newest state; answers the server's stamp of it.
    pub(super) fn put(&mut self, state: State) -> Result<u64> {
        // Who was silent for long may have lost it.
        if self.moved.elapsed() > self.patience / 2 && self.log.now(self.table)?.0 != self.pk {
            return Err(self.table.line.problem(ServerProblem::Overtaken));
        }
        let (pk, moved) = (after(self.pk), Instant::now());
        let stamp = insert(self.table, pk, &state)?;
        // A row that is left is older, and goes with the next.
        let _ = self.table.delete(&[self.pk], &mut || Ok(()));
        (self.pk, self.moved, self.state) = (pk, moved, state);
        self.log.see(&(pk, self.state.clone()));
        Ok(stamp)
    }
}
