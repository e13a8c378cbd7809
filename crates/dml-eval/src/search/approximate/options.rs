//! How a graph is built and walked.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a graph is built and walked. Defaults are those of usearch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproximateOptions {
    /// Neighbours that a row keeps in the graph, M; twice as many in its lowest layer. 2 to 512, 16 by default. More find more
    /// and cost memory, about `8·M` bytes a row.
    pub connectivity: usize,
    /// Candidates that a new row chooses its neighbours from, efConstruction. 128 by default. More make a better graph, slower.
    pub expansion_add: usize,
    /// Candidates that a search keeps, ef, where it is not asked for more. 64 by default. More find more, slower.
    pub expansion_search: usize,
    /// Threads that build. 1 by default: the graph then follows from rows and options alone. With more of them it depends on who
    /// came first, and so may what is found; recall stays about the same. It says nothing of searches, which take all threads and
    /// give the same answer on any number of them.
    pub threads: usize,
}

impl Default for ApproximateOptions {
    fn default() -> Self {
        Self { connectivity: 16, expansion_add: 128, expansion_search: 64, threads: 1 }
    }
}

impl ApproximateOptions {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what: &str, value: usize, want: &str| {
            Err(Error::Input(format!("{what} of an approximate index is {value}: want {want}")))
        };
        match *self {
            Self { connectivity: m, .. } if !(2..=512).contains(&m) => refuse("connectivity", m, "2 to 512"),
            Self { expansion_add: 0, .. } => refuse("expansion_add", 0, "1 or more"),
            Self { expansion_search: 0, .. } => refuse("expansion_search", 0, "1 or more"),
            Self { threads: n, .. } if !(1..=1024).contains(&n) => refuse("threads", n, "1 to 1024"),
            _ => Ok(()),
        }
    }
}
