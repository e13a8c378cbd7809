//! A timing program of ours beside one of the peers: turns at each case, and what is left of them.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::record::{Record, load_per_core};
use super::worker::{Case, Worker};
use super::{peers, readme};
use crate::workspace;

/// Options of such a bench.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Beside the peers on the CPU, in a virtual environment made below the target folder
    #[arg(long)]
    peers: bool,
    /// Make that environment anew with this Python [default: one that has PyTorch, else one to which pip adds it]
    #[arg(long, value_name = "PROGRAM", requires = "peers")]
    python: Option<PathBuf>,
    /// Smaller sizes and shorter turns
    #[arg(long)]
    quick: bool,
    /// Build our program with these features of dml-tests, of which there is one: turbojpeg, of the data bench
    #[arg(long, value_name = "NAMES")]
    features: Option<String>,
    /// Only losses whose name contains TEXT; in the other benches, cases whose title does
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Folder of bench.json and bench.md [default: runs/bench, runs/bench-eval, runs/bench-gallery, runs/bench-data, runs/bench-train]
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
    /// Folder of its results, below `runs`.
    pub(super) folder: &'static str,
    /// Our program, of dml-tests, and what it is called where it does not take part.
    pub(super) program: &'static str,
    pub(super) ours: &'static str,
    /// The peers' script below `tests/bench`, and what it is called.
    pub(super) script: &'static str,
    pub(super) peer: &'static str,
    /// What the script needs of the environment.
    pub(super) needs: peers::Needs,
    /// Turns that each contestant takes at a case.
    pub(super) rounds: usize,
    /// Whether each case is timed by new processes: memory that an earlier one was given and keeps would hide what a case takes.
    pub(super) anew: bool,
    /// By what `--only` chooses a case.
    pub(super) chosen_by: fn(&Case) -> &str,
    /// The table of all there is to know.
    pub(super) markdown: fn(&Record, &[Measured]) -> String,
    /// The table of the README.
    pub(super) summary: fn(&Record, &[Measured]) -> String,
}

/// What was measured of a case.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) case: Case,
    /// Contestant to the seconds of all its repetitions.
    pub(super) seconds: BTreeMap<String, Vec<f64>>,
    /// Contestant to its peak memory beyond the inputs, in bytes: the largest of its turns.
    pub(super) bytes: BTreeMap<String, u64>,
    /// Contestant to how much of the right answer it gives, where that is not all.
    pub(super) recall: BTreeMap<String, f64>,
    /// Contestant to the reason why it did not take part.
    pub(super) skipped: BTreeMap<String, String>,
}

pub(super) fn run(contest: &Contest, arguments: &Arguments) -> Result<()> {
    let &Contest { name, markdown, .. } = contest;
    let threads = threads()?;
    // Before the build, which is work too.
    let load = load_per_core();
    let program = match &arguments.features {
        None => workspace::build(contest.program)?,
        // Named as a member's, they change nothing else of what the workspace's build has built.
        Some(names) => {
            let names: Vec<String> = names.split(',').map(|name| format!("dml-tests/{name}")).collect();
            workspace::build_of(&["--workspace", "--features", &names.join(",")], contest.program)?
        }
    };
    // The inputs of the cases: the contestants read the same.
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(&program);
    command.arg("serve").arg(folder.path()).env("RAYON_NUM_THREADS", threads.to_string());
    let mut commands = vec![(contest.ours, command)];
    if arguments.peers {
        let python = peers::environment(arguments.python.as_deref(), contest.needs)?;
        let mut command = Command::new(python);
        command.arg(workspace::root().join("tests/bench").join(contest.script)).arg(folder.path());
        // Torch reads the number of threads before the script can set it.
        command.env("OMP_NUM_THREADS", threads.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        commands.push((contest.peer, command));
    }
    let started: Result<Vec<Worker>> =
        commands.iter_mut().map(|(name, command)| Worker::start(name, command)).collect();
    let mut workers = started?;
    let greetings: Vec<serde_json::Value> = workers.iter().map(|worker| worker.greeting.clone()).collect();
    let mut cases = cases(&program, arguments.quick)?;
    if let Some(only) = &arguments.only {
        cases.retain(|case| (contest.chosen_by)(case).contains(only.as_str()));
        if cases.is_empty() {
            bail!("no case of {name} has {only:?} in its name");
        }
    }
    let out = arguments.out.clone().unwrap_or_else(|| workspace::root().join("runs").join(contest.folder));
    let mut rows = vec![];
    for (at, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}, n = {}, d = {}", at + 1, cases.len(), case.title, case.n, case.d);
        if contest.anew && at > 0 {
            for (worker, (name, command)) in workers.iter_mut().zip(commands.iter_mut()) {
                *worker = Worker::start(name, command)?;
            }
        }
        rows.push(measure(&mut workers, &mut commands, case, contest.rounds)?);
        // What has been measured is not lost when it is interrupted.
        let record = Record::new(name, threads, load, greetings.clone(), &rows);
        record.write(&out.join("bench.json"), &out.join("bench.md"), &markdown(&record, &rows))?;
    }
    let record = Record::new(name, threads, load, greetings, &rows);
    let table = markdown(&record, &rows);
    if arguments.record {
        let kept = workspace::root().join("bench/record").join(record.name());
        record.write(&kept.with_extension("json"), &kept.with_extension("md"), &table)?;
        readme::put(name, &(contest.summary)(&record, &rows))?;
    }
    println!("{}", table.trim_end());
    println!();
    println!("record: {} and bench.json", workspace::shown(&out.join("bench.md")));
    Ok(())
}

/// Rounds of turns, so that all contestants see the machine in the same moods.
///
/// A contestant whose process ends (for want of memory, say) is left out of the case and started anew.
fn measure(
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
            measured.recall.extend(turn.recall);
            measured.skipped.extend(turn.skipped);
        }
    }
    Ok(measured)
}

/// Threads of every contestant: `RAYON_NUM_THREADS`, else all the machine has.
fn threads() -> Result<usize> {
    match env::var("RAYON_NUM_THREADS") {
        Ok(text) => match text.parse() {
            Ok(threads) if threads > 0 => Ok(threads),
            _ => bail!("RAYON_NUM_THREADS is {text:?}: want a number above 0, or leave it unset"),
        },
        Err(_) => Ok(thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// Asks the timing program what there is to time: it knows the registry.
fn cases(program: &Path, quick: bool) -> Result<Vec<Case>> {
    let mut command = Command::new(program);
    command.arg("cases").args(quick.then_some("--quick")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run the timing program")?;
    if !output.status.success() {
        bail!("the timing program failed: {}", output.status);
    }
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("cases of the timing program")).collect()
}
