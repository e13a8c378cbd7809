//! `cargo xtask bench losses`.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::record::{Record, load_per_core};
use super::worker::{Case, Worker};
use super::{peers, readme, table};
use crate::workspace;

/// Options of `cargo xtask bench losses`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Beside pytorch-metric-learning on the CPU, in a virtual environment made below the target folder
    #[arg(long)]
    peers: bool,
    /// Make that environment anew with this Python [default: one that has PyTorch, else one to which pip adds it]
    #[arg(long, value_name = "PROGRAM", requires = "peers")]
    python: Option<PathBuf>,
    /// Smaller sizes and shorter turns
    #[arg(long)]
    quick: bool,
    /// Only losses whose name contains NAME
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Folder of bench.json and bench.md [default: runs/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the result below bench/record, and put its table into the README
    #[arg(long)]
    record: bool,
}

/// Turns that each contestant takes at a case.
const ROUNDS: usize = 2;

/// What was measured of a case.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) case: Case,
    /// Contestant to the seconds of all its repetitions.
    pub(super) seconds: BTreeMap<String, Vec<f64>>,
    /// Contestant to its peak memory beyond the inputs, in bytes: the largest of its turns.
    pub(super) bytes: BTreeMap<String, u64>,
    /// Contestant to the reason why it did not take part.
    pub(super) skipped: BTreeMap<String, String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let threads = threads()?;
    // Before the build, which is work too.
    let load = load_per_core();
    let program = workspace::build("dml-tests", "time_losses", &[])?;
    let mut commands = vec![];
    if arguments.peers {
        let python = peers::environment(arguments.python.as_deref(), peers::Needs::Search)?;
        let script = workspace::root().join("tests/bench/time_pml.py");
        let mut command = Command::new(python);
        // Torch reads the number of threads before the script can set it.
        command.arg(script).env("OMP_NUM_THREADS", threads.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        commands.push(("pml", command));
    }
    let mut command = Command::new(&program);
    command.arg("serve").env("RAYON_NUM_THREADS", threads.to_string());
    commands.insert(0, ("fused", command));
    let started: Result<Vec<Worker>> =
        commands.iter_mut().map(|(name, command)| Worker::start(name, command)).collect();
    let mut workers = started?;
    let greetings: Vec<serde_json::Value> = workers.iter().map(|worker| worker.greeting.clone()).collect();

    let mut cases = cases(&program, arguments.quick)?;
    if let Some(only) = &arguments.only {
        cases.retain(|case| case.loss.contains(only.as_str()));
        if cases.is_empty() {
            bail!("no loss has {only:?} in its name");
        }
    }
    let out = arguments.out.clone().unwrap_or_else(|| workspace::root().join("runs/bench"));
    let mut rows = vec![];
    for (at, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}, n = {}, d = {}", at + 1, cases.len(), case.title, case.n, case.d);
        rows.push(measure(&mut workers, &mut commands, case, ROUNDS)?);
        // What has been measured is not lost when it is interrupted.
        let record = Record::new("losses", threads, load, greetings.clone(), &rows);
        record.write(&out.join("bench.json"), &out.join("bench.md"), &table::markdown(&record, &rows))?;
    }
    let record = Record::new("losses", threads, load, greetings, &rows);
    let markdown = table::markdown(&record, &rows);
    if arguments.record {
        let kept = workspace::root().join("bench/record").join(record.name());
        record.write(&kept.with_extension("json"), &kept.with_extension("md"), &markdown)?;
        readme::put("losses", &table::summary(&record, &rows))?;
    }
    println!("{}", markdown.trim_end());
    println!();
    println!("record: {} and bench.json", workspace::shown(&out.join("bench.md")));
    Ok(())
}

/// Rounds of turns, so that all contestants see the machine in the same moods.
///
/// A contestant whose process ends (for want of memory, say) is left out of the case and started anew.
pub(super) fn measure(
    workers: &mut [Worker],
    commands: &mut [(&'static str, Command)],
    case: &Case,
    rounds: usize,
) -> Result<Measured> {
    let mut measured = Measured { case: case.clone(), ..Measured::default() };
    for _ in 0..rounds {
        for (worker, (name, command)) in workers.iter_mut().zip(commands.iter_mut()) {
            if measured.skipped.contains_key(*name) {
                continue;
            }
            let turn = match worker.time(case) {
                Ok(turn) => turn,
                Err(error) => {
                    measured.skipped.insert((*name).to_owned(), format!("{error:#}"));
                    *worker = Worker::start(name, command)?;
                    continue;
                }
            };
            for (contestant, seconds) in turn.seconds {
                measured.seconds.entry(contestant).or_default().extend(seconds);
            }
            for (contestant, bytes) in turn.bytes {
                let largest = measured.bytes.entry(contestant).or_default();
                *largest = bytes.unwrap_or(0).max(*largest);
            }
            measured.skipped.extend(turn.skipped);
        }
    }
    Ok(measured)
}

/// Threads of every contestant: `RAYON_NUM_THREADS`, else all the machine has.
pub(super) fn threads() -> Result<usize> {
    match env::var("RAYON_NUM_THREADS") {
        Ok(text) => match text.parse() {
            Ok(threads) if threads > 0 => Ok(threads),
            _ => bail!("RAYON_NUM_THREADS is {text:?}: want a number above 0, or leave it unset"),
        },
        Err(_) => Ok(thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// Asks the timing program what there is to time: it knows the registry.
pub(super) fn cases(program: &Path, quick: bool) -> Result<Vec<Case>> {
    let mut command = Command::new(program);
    command.arg("cases").args(quick.then_some("--quick")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run the timing program")?;
    if !output.status.success() {
        bail!("the timing program failed: {}", output.status);
    }
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("cases of the timing program")).collect()
}
