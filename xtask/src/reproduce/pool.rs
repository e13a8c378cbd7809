//! Jobs as processes, some at once, which share the threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Error, Result, anyhow};
use serde::Deserialize;

use super::job::{Job, Work};
use super::progress::Progress;
use crate::workspace;

/// Runs jobs with one program on a number of threads.
pub(crate) struct Pool<'a> {
    /// The `dml` binary.
    pub(crate) dml: &'a Path,
    /// Folder of the fetched data sets.
    pub(crate) data: &'a Path,
    /// Where tensors live, as `dml` has it.
    pub(crate) device: &'a str,
    /// Threads of all running jobs together.
    pub(crate) threads: usize,
    /// Most jobs at once.
    pub(crate) jobs: usize,
}

/// What a job's threads tell the pool.
enum Message {
    /// A job has done this many steps of its run.
    Step { job: usize, step: u64 },
    /// A job's standard output is closed: it has ended, or will at once.
    Closed { job: usize },
}

/// How `dml train` says that a folder's runs would no longer be those of the recipe.
const OTHER_RECIPE: &str = "the folder was begun with another recipe or seed";

/// How `dml train` says that the hub does not give the weights that a recipe begins with.
const NOT_TO_BE_HAD: &str = "is not to be had: ";

/// The lines of `dml train`'s standard output that matter here; the others are for people and for `metrics.jsonl`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Start {
        step: u64,
        steps: u64,
    },
    Step {
        step: u64,
        steps: u64,
    },
    Evaluating,
    #[serde(other)]
    Other,
}

/// A line with the run it is of, which a job of several runs names.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    run: String,
    #[serde(flatten)]
    event: Event,
}

/// How far the runs of a job are.
#[derive(Default)]
struct Steps {
    /// Those done, and all, by run.
    runs: BTreeMap<String, [u64; 2]>,
}

impl Steps {
    /// What the job has done altogether, if the event tells.
    fn after(&mut self, Line { run, event }: Line) -> Option<u64> {
        match event {
            Event::Start { step, steps } | Event::Step { step, steps } => {
                self.runs.insert(run, [step, steps]);
            }
            // Also of those that stopped early.
            Event::Evaluating => {
                self.runs.entry(run).and_modify(|[done, all]| *done = *all);
            }
            Event::Other => return None,
        }
        Some(self.runs.values().map(|[done, _]| done).sum())
    }
}

/// A job that runs. Its standard input is held open: the job ends itself when that closes, which it does even if this
/// process is killed.
struct Running {
    job: usize,
    threads: usize,
    child: Child,
    _stdin: ChildStdin,
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a wait both are harmless; after a failure elsewhere the job stops here and goes on at the next run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `RAYON_NUM_THREADS` if it is set, else the number of cores.
pub(crate) fn threads() -> Result<usize> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match env::var("RAYON_NUM_THREADS") {
        Err(_) => Ok(cores),
        Ok(text) => match text.parse() {
            Ok(0) => Ok(cores),
            Ok(threads) => Ok(threads),
            Err(_) => Err(anyhow!("RAYON_NUM_THREADS is `{text}`: give a number of threads, or unset it")),
        },
    }
}

/// Threads of the next job, where some are free, jobs are waiting and there is a place for one: with places enough it has one while
/// jobs last, for the threads of a job share its small products badly.
fn threads_of_next(free: usize, waiting: usize, places: usize) -> Option<usize> {
    free.checked_div(waiting.min(free).min(places))
}

impl Pool<'_> {
    /// Runs the jobs to their end. The first that fails stops the others, which keep their checkpoints; but those that begin with
    /// weights which cannot be had are left out, unless they are complete. Returns the folders of those that are left out.
    pub(crate) fn run(&self, jobs: &[&Job]) -> Result<BTreeSet<PathBuf>> {
        let mut left_out = BTreeSet::new();
        let mut progress = Progress::new(jobs);
        let (sender, receiver) = channel();
        let mut waiting: VecDeque<usize> = (0..jobs.len()).collect();
        let mut running: Vec<Running> = vec![];
        loop {
            let mut free = self.threads - running.iter().map(|running| running.threads).sum::<usize>();
            while let Some(threads) = threads_of_next(free, waiting.len(), self.jobs - running.len()) {
                let job = waiting.pop_front().expect("not empty");
                running.push(self.start(job, jobs[job], threads, &sender)?);
                free -= threads;
            }
            if running.is_empty() {
                progress.finish();
                return Ok(left_out);
            }
            let ended = listen(&receiver, &mut progress)?;
            let at = running.iter().position(|running| running.job == ended).expect("only running jobs speak");
            let status = running.swap_remove(at).child.wait()?;
            if let Some(command) = lacks(jobs[ended], status) {
                let mut leave_out = |job: usize| {
                    left_out.insert(jobs[job].dir.clone());
                    progress.leave_out(job, &command);
                };
                leave_out(ended);
                // The others would ask in vain, but for those that need no weights any more.
                waiting.retain(|&job| {
                    let asks = jobs[job].weights.as_ref() == Some(&command) && !jobs[job].was_complete();
                    if asks {
                        leave_out(job);
                    }
                    !asks
                });
            } else {
                check(jobs[ended], status)?;
                progress.complete(ended);
            }
        }
    }

    fn start(&self, index: usize, job: &Job, threads: usize, sender: &Sender<Message>) -> Result<Running> {
        fs::create_dir_all(&job.dir).with_context(|| format!("cannot make {}", job.dir.display()))?;
        let log = File::options().create(true).append(true).open(job.log());
        let log = log.with_context(|| format!("cannot write {}", job.log().display()))?;
        let mut child = self
            .command(job)
            .current_dir(workspace::root())
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.dml.display()))?;
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let sender = sender.clone();
        thread::spawn(move || forward(index, stdout, &sender));
        Ok(Running { job: index, threads, child, _stdin: stdin })
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = Command::new(self.dml);
        match &job.work {
            Work::Train { recipe, seed, set, .. } => {
                command.arg("train").arg(recipe).arg("--run-dir").arg(&job.dir).args(["--seed", &seed.to_string()]);
                for change in set {
                    command.args(["--set", change]);
                }
                command.args(["--device", self.device]);
            }
            Work::Baseline => {
                command.args(["baseline", &job.name]).arg("--out").arg(job.result());
            }
        }
        command.arg("--data-dir").arg(self.data).arg("--exit-with-stdin");
        command
    }
}

/// Hands a job's events on until its standard output closes.
fn forward(job: usize, stdout: impl BufRead, sender: &Sender<Message>) {
    // A line that cannot be read means the same as no more lines: the exit status tells the rest.
    let mut steps = Steps::default();
    for line in stdout.lines().map_while(std::result::Result::ok) {
        let Some(step) = serde_json::from_str(&line).ok().and_then(|line| steps.after(line)) else { continue };
        if sender.send(Message::Step { job, step }).is_err() {
            return;
        }
    }
    let _ = sender.send(Message::Closed { job });
}

/// Shows progress until a job ends; its index.
fn listen(receiver: &Receiver<Message>, progress: &mut Progress) -> Result<usize> {
    loop {
        match receiver.recv().context("all jobs fell silent")? {
            Message::Step { job, step } => progress.step(job, step),
            Message::Closed { job } => return Ok(job),
        }
    }
}

/// The command that would bring the weights for want of which the job failed.
fn lacks(job: &Job, status: ExitStatus) -> Option<String> {
    let log = fs::read_to_string(job.log()).unwrap_or_default();
    // The log goes on over several runs: only its last line is surely of this one.
    let refused = !status.success() && log.lines().last()?.contains(NOT_TO_BE_HAD);
    job.weights.clone().filter(|_| refused)
}

fn check(job: &Job, status: ExitStatus) -> Result<()> {
    match (status.success(), job.result().exists()) {
        (true, true) => Ok(()),
        (true, false) => Err(failure(job, &format!("ended without writing {}", workspace::shown(&job.result())))),
        (false, _) => Err(failure(job, &format!("failed ({status})"))),
    }
}

/// What became of the job, with the end of its log, or the mend where there is one.
fn failure(job: &Job, outcome: &str) -> Error {
    let what = match &job.work {
        Work::Train { recipe, seed, .. } => format!("recipe {}, seed {seed}", workspace::shown(recipe)),
        Work::Baseline => format!("baseline {}", job.name),
    };
    let log = fs::read_to_string(job.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    // The log goes on over several runs: only its last line is surely of this one.
    if lines.last().is_some_and(|line| line.contains(OTHER_RECIPE)) {
        let dir = workspace::shown(&job.dir);
        return anyhow!("{what}: {dir} was begun with another recipe: remove that folder, or give another --out DIR");
    }
    let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
    anyhow!("{what}: {outcome}; log: {}\n  {last}", workspace::shown(&job.log()))
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::training;
    use super::*;

    #[test]
    fn a_folder_of_another_recipe_is_named_with_the_mend() {
        let out = tempfile::tempdir().unwrap();
        let job = training(out.path(), "old", true);
        let refusal = format!("error: recipe.toml: {OTHER_RECIPE}: choose another --run-dir or remove it\n");
        fs::write(job.log(), &refusal).unwrap();
        let message = failure(&job, "failed (exit status: 1)").to_string();
        let mend = format!("{} was begun with another recipe: remove that folder, or", job.dir.display());
        assert!(message.contains(&mend) && message.contains("--out DIR"), "{message}");

        fs::write(job.log(), refusal + "error: no space left\n").unwrap();
        let message = failure(&job, "failed (exit status: 1)").to_string();
        assert!(message.contains("no space left") && !message.contains("--out DIR"), "{message}");
    }

    #[test]
    fn the_refusal_is_worded_as_dml_train_words_it() {
        assert!(include_str!("../../../crates/dml-train/src/run.rs").contains(OTHER_RECIPE));
        assert!(include_str!("../../../crates/dml-models/src/error.rs").contains(NOT_TO_BE_HAD));
    }

    #[cfg(unix)]
    #[test]
    fn jobs_without_their_weights_are_left_out_and_the_others_run() {
        use std::os::unix::fs::PermissionsExt;
        let out = tempfile::tempdir().unwrap();
        // In place of `dml train RECIPE --run-dir DIR`: counts its calls, and lacks the weights in folders that are called so.
        let dml = out.path().join("dml");
        let script = format!(
            "#!/bin/sh\necho >> {}\ncase $4 in\n*lacks*) echo 'error: hub: a@main/b {NOT_TO_BE_HAD}no network' >&2; exit 1;;\n\
             *) echo '{{}}' > $4/evaluation.json;;\nesac\n",
            out.path().join("calls").display(),
        );
        fs::write(&dml, script).unwrap();
        fs::set_permissions(&dml, fs::Permissions::from_mode(0o755)).unwrap();
        let job = |name: &str, weights: Option<&str>| Job {
            weights: weights.map(str::to_owned),
            ..training(out.path(), name, name == "done")
        };
        let get_b = Some("get b");
        // Of one that is complete `dml train` asks for nothing.
        let jobs = [
            job("lacks-0", get_b),
            job("lacks-1", get_b),
            job("has", Some("get c")),
            job("own", None),
            job("done", get_b),
        ];
        let pool = Pool { dml: &dml, data: out.path(), device: "cpu", threads: 1, jobs: 1 };
        let left_out = pool.run(&jobs.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(left_out, BTreeSet::from([&jobs[0], &jobs[1]].map(|job| job.dir.clone())));
        assert_eq!(jobs.each_ref().map(Job::was_complete), [false, false, true, true, true]);
        assert_eq!(fs::read_to_string(out.path().join("calls")).unwrap().lines().count(), 4);
        // Without weights of the hub it is a failure like any other.
        let lacks = job("lacks-2", None);
        assert!(pool.run(&[&lacks]).unwrap_err().to_string().contains("no network"));
    }

    #[test]
    fn threads_are_shared_by_as_many_jobs_as_have_a_place() {
        // How many threads each of so many waiting jobs gets that begins at once.
        let begun = |threads: usize, waiting: usize, places: usize| {
            let mut shares: Vec<usize> = vec![];
            while let Some(share) =
                threads_of_next(threads - shares.iter().sum::<usize>(), waiting - shares.len(), places - shares.len())
            {
                shares.push(share);
            }
            shares
        };
        assert_eq!(begun(4, 9, 4), [1, 1, 1, 1]);
        assert_eq!(begun(4, 1, 4), [4]);
        assert_eq!(begun(2, 9, 5), [1, 1]);
        // On a GPU.
        assert_eq!(begun(16, 9, 1), [16]);
        assert_eq!(begun(16, 9, 3), [5, 5, 6]);
        assert!(begun(4, 0, 4).is_empty());
    }

    #[test]
    fn steps_of_folds_add_up() {
        let mut steps = Steps::default();
        let mut after = |line: &str| steps.after(serde_json::from_str(line).unwrap());
        assert_eq!(after(r#"{"run":"fold-0","event":"start","step":0,"steps":9}"#), Some(0));
        assert_eq!(after(r#"{"run":"fold-0","event":"step","step":4,"steps":9,"loss":0.5}"#), Some(4));
        // Stopped early.
        assert_eq!(after(r#"{"run":"fold-0","event":"evaluating"}"#), Some(9));
        assert_eq!(after(r#"{"run":"fold-1","event":"step","step":2,"steps":9}"#), Some(11));
        assert_eq!(after(r#"{"run":"fold-1","event":"finish"}"#), None);
        let mut steps = Steps::default();
        assert_eq!(steps.after(serde_json::from_str(r#"{"event":"step","step":3,"steps":5}"#).unwrap()), Some(3));
        assert_eq!(steps.after(serde_json::from_str(r#"{"event":"evaluating"}"#).unwrap()), Some(5));
    }
}
