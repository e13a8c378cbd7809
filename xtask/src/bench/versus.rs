//! A timing program of ours beside one of the peers: one turn at each case, and what is left of it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::losses::{Measured, cases, measure, threads};
use super::record::{Record, load_per_core};
use super::worker::Worker;
use super::{peers, readme};
use crate::workspace;

/// Options of such a bench.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Beside the peers on the CPU, in a virtual environment made below the target folder
    #[arg(long)]
    peers: bool,
    /// Make that environment anew with this Python
    #[arg(long, value_name = "PROGRAM", requires = "peers")]
    python: Option<PathBuf>,
    /// An eighth of the work
    #[arg(long)]
    quick: bool,
    /// Only cases whose title contains TEXT
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Folder of bench.json and bench.md [default: runs/bench- and the name of the bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the result below bench/record, and put its table into the README
    #[arg(long)]
    record: bool,
}

/// What takes part.
pub(super) struct Contest {
    /// Name of the bench.
    pub(super) name: &'static str,
    /// Our program, of dml-tests.
    pub(super) program: &'static str,
    /// The peers' script below `tests/bench`.
    pub(super) script: &'static str,
    /// What the script needs of the environment.
    pub(super) needs: peers::Needs,
    /// The table.
    pub(super) markdown: fn(&Record, &[Measured]) -> String,
}

pub(super) fn run(contest: &Contest, arguments: &Arguments) -> Result<()> {
    let &Contest { name, program, script, needs, markdown } = contest;
    let threads = threads()?;
    let load = load_per_core();
    let program = workspace::build("dml-tests", program, &[])?;
    // The inputs of the cases: the contestants read the same.
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(&program);
    command.arg("serve").arg(folder.path()).env("RAYON_NUM_THREADS", threads.to_string());
    let mut commands = vec![("ours", command)];
    if arguments.peers {
        let python = peers::environment(arguments.python.as_deref(), needs)?;
        let mut command = Command::new(python);
        command.arg(workspace::root().join("tests/bench").join(script)).arg(folder.path());
        command.env("OMP_NUM_THREADS", threads.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        commands.push(("peers", command));
    }
    let started: Result<Vec<Worker>> =
        commands.iter_mut().map(|(name, command)| Worker::start(name, command)).collect();
    let mut workers = started?;
    let greetings: Vec<serde_json::Value> = workers.iter().map(|worker| worker.greeting.clone()).collect();
    let mut cases = cases(&program, arguments.quick)?;
    if let Some(only) = &arguments.only {
        cases.retain(|case| case.title.contains(only.as_str()));
    }
    let out = arguments.out.clone().unwrap_or_else(|| workspace::root().join("runs").join(format!("bench-{name}")));
    let mut rows = vec![];
    for (at, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}, n = {}, d = {}", at + 1, cases.len(), case.title, case.n, case.d);
        // One turn each: they take minutes, and repeat themselves where they are short.
        rows.push(measure(&mut workers, &mut commands, case, 1)?);
        let record = Record::new(name, threads, load, greetings.clone(), &rows);
        record.write(&out.join("bench.json"), &out.join("bench.md"), &markdown(&record, &rows))?;
    }
    let record = Record::new(name, threads, load, greetings, &rows);
    let table = markdown(&record, &rows);
    if arguments.record {
        let kept = workspace::root().join("bench/record").join(record.name());
        record.write(&kept.with_extension("json"), &kept.with_extension("md"), &table)?;
        readme::put(name, &table)?;
    }
    println!("{}", table.trim_end());
    println!();
    println!("record: {} and bench.json", workspace::shown(&out.join("bench.md")));
    Ok(())
}
