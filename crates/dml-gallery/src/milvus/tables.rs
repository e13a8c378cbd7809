//! The collections of a gallery.

use super::line::Line;
use super::table::Table;
use crate::{Error, Result};

/// The collections.
pub(super) struct Tables<'a> {
    pub(super) states: Table<'a>,
    pub(super) samples: Table<'a>,
    pub(super) templates: Table<'a>,
}

/// Length of what stands for an embedding where there is none: a collection of Milvus must have some.
pub(super) const NO_EMBEDDING: usize = 2;

impl<'a> Tables<'a> {
    pub(super) fn new(line: &'a Line, [states, samples, templates]: &'a [String; 3], dim: usize) -> Self {
        let table = |name, dim| Table { line, name, dim };
        Self { states: table(states, NO_EMBEDDING), samples: table(samples, dim), templates: table(templates, dim) }
    }

    pub(super) fn all(&self) -> [&Table<'a>; 3] {
        [&self.states, &self.samples, &self.templates]
    }

    /// Does the same with all at once.
    pub(super) fn each(&self, work: impl Fn(&Table<'a>) -> Result<()> + Sync) -> Result<()> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads = self.all().map(|table| scope.spawn(move || work(table)));
            let lost = || Err(Error::Input("a thread of the client ended".to_owned()));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| lost()))
        })
    }
}

/// Their names.
pub(super) fn names(gallery: &str) -> [String; 3] {
    ["states", "samples", "templates"].map(|part| format!("dml_{gallery}_{part}"))
}
