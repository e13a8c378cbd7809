//! A process that times what it is asked to: one case a line in, its times a line out.
//!
//! It stays alive between cases, so that contestants in different languages can take turns within a second of each other.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is timed: a loss and the size of its input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Case {
    /// For the table.
    pub(super) title: String,
    /// Name in the registry.
    pub(super) loss: String,
    /// All its parameters.
    pub(super) params: Value,
    /// Rows of the batch.
    pub(super) n: usize,
    /// Length of an embedding.
    pub(super) d: usize,
    /// Classes of the data set: one proxy each.
    pub(super) classes: usize,
    /// Rows of each class in the batch.
    pub(super) per_class: usize,
    /// Score rows at a time; 0: as the driver likes.
    #[serde(default)]
    pub(super) tile: usize,
    /// How long one turn should take.
    pub(super) budget_s: f64,
}

/// Times of one turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Turn {
    /// Contestant to the seconds of each of its repetitions.
    pub(super) seconds: BTreeMap<String, Vec<f64>>,
    /// Contestant to its peak memory beyond the inputs, where the system tells.
    pub(super) bytes: BTreeMap<String, Option<u64>>,
    /// Contestant to how much of the right answer it gives, where that is not all.
    pub(super) recall: BTreeMap<String, f64>,
    /// Contestant to the reason why it does not take part.
    pub(super) skipped: BTreeMap<String, String>,
}

/// A running process.
pub(super) struct Worker {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What it says of itself: versions and threads.
    pub(super) greeting: Value,
}

impl Worker {
    /// Starts `command` and reads its greeting.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {name}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("no standard output")?);
        let mut worker =
            Self { name: name.to_owned(), child, stdin, stdout: BufReader::new(stdout), greeting: Value::Null };
        worker.greeting = worker.read()?;
        Ok(worker)
    }

    /// One turn at `case`.
    pub(super) fn time(&mut self, case: &Case) -> Result<Turn> {
        let stdin = self.stdin.as_mut().context("the worker is closed")?;
        let sent = writeln!(stdin, "{}", serde_json::to_string(case)?).and_then(|()| stdin.flush());
        // A process that has died says more by its exit status than by the broken pipe.
        if sent.is_err() {
            bail!("{} ended before {}: {}", self.name, case.title, self.child.wait()?);
        }
        self.read().with_context(|| format!("{} at {}, n = {}", self.name, case.title, case.n))
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("{} ended: {}", self.name, self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| format!("{} answered {line:?}", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
