//! What the timing programs of the bench have in common: how they are called, asked and answer.
//!
//! `PROGRAM cases [--quick]` prints what there is to time, one JSON object a line. `PROGRAM serve DIR` greets with a line, then
//! reads such lines and answers each with `{"seconds": {contestant: [seconds of each repetition]}, "bytes": {contestant: peak
//! memory beyond the inputs}, "recall": {contestant: share}}`. What other contestants are to read of a case is left in DIR.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "of binaries that talk to their user")]

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::peak;

/// What is timed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Case<P> {
    /// For people.
    pub title: String,
    /// What is done: of losses, the name in the registry.
    pub loss: String,
    /// What else it needs to know.
    pub params: P,
    /// Rows, vectors or images.
    pub n: usize,
    /// Values of one.
    pub d: usize,
    /// Classes that they are of.
    pub classes: usize,
    /// How many are of one class.
    pub per_class: usize,
    /// Score rows at a time; 0: as the driver likes.
    #[serde(default)]
    pub tile: usize,
    /// Seconds of a turn, where a case does not itself say when it is done.
    pub budget_s: f64,
}

impl<P: Serialize> Case<P> {
    /// As a line of `cases`.
    ///
    /// # Errors
    /// When it cannot be said in JSON.
    pub fn print(&self) -> Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// The whole of a timing program: `cases(quick)` prints, `serve(DIR)` answers.
pub fn run(cases: impl FnOnce(bool) -> Result<()>, serve: impl FnOnce(&Path) -> Result<()>) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cases"] => cases(false),
        ["cases", "--quick"] => cases(true),
        ["serve", folder] => serve(Path::new(folder)),
        _ => Err(anyhow!("usage: cases [--quick] | serve DIR")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Greets as `crate_name`, then gives for each line what `answer` makes of it.
///
/// # Errors
/// Those of `answer`, and when there is nobody to talk to.
pub fn serve(crate_name: &str, mut answer: impl FnMut(String) -> Result<Value>) -> Result<()> {
    let say = |value: Value| -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{value}")?;
        Ok(out.flush()?)
    };
    let program = format!("{crate_name} {}", env!("CARGO_PKG_VERSION"));
    say(json!({"program": program, "threads": rayon::current_num_threads()}))?;
    io::stdin().lock().lines().try_for_each(|line| say(answer(line?)?))
}

/// How often a contestant repeats itself.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// So often after the first time, which touches memory for the first time and does not count.
    pub times: usize,
    /// Where the first time takes so many seconds or more, it alone counts.
    pub unless_first_takes: f64,
}

/// What a turn says of the contestants.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(skip)]
    repeat: Repeat,
    seconds: BTreeMap<&'static str, Vec<f64>>,
    bytes: BTreeMap<&'static str, Option<u64>>,
    recall: BTreeMap<&'static str, f64>,
}

impl Answer {
    /// Says nothing yet.
    pub fn new(repeat: Repeat) -> Self {
        Self { repeat, seconds: BTreeMap::new(), bytes: BTreeMap::new(), recall: BTreeMap::new() }
    }

    /// Says how much of the right answer a contestant gives, where that is not all.
    pub fn recall(&mut self, contestant: &'static str, recall: f64) {
        self.recall.insert(contestant, recall);
    }

    /// Says what a contestant took each time, where its own clock tells it.
    pub fn seconds(&mut self, contestant: &'static str, seconds: Vec<f64>) {
        self.seconds.insert(contestant, seconds);
    }

    /// Times `work` of a contestant.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn time(&mut self, contestant: &'static str, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        let mut once = || -> Result<f64> {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        };
        let (first, bytes) = peak::growth(&mut once);
        let first = first?;
        let seconds: Vec<f64> = match first < self.repeat.unless_first_takes {
            true => (0..self.repeat.times).map(|_| once()).collect::<Result<_>>()?,
            false => vec![first],
        };
        self.seconds.insert(contestant, seconds);
        self.bytes.insert(contestant, bytes);
        Ok(())
    }
}
