//! `dml train` of several runs: a recipe under several seeds, on all folds of its classes, or both.

use crate::train::{Parent, progress_bar, stop_on_signal, tell};
use anyhow::{Context, Result, bail};
use clap::Args;
use dml_train::runs::{Member, Runs, Setting};
use dml_train::{Event, Recipe};
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

#[derive(Args)]
pub(crate) struct Several {
    /// Several seeds, each in a folder of its own: how many, from the recipe's on, or which ones, e.g. 5 or 0,3,7
    #[arg(long, value_name = "N|LIST", conflicts_with = "seed")]
    seeds: Option<String>,
    /// Cross-validate on this many folds of the training and validation classes, as `data.folds`: a run for each, their mean, and
    /// the ensemble of all
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Runs at a time, which share the threads: small networks on many cores gain by it
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) jobs: usize,
}

impl Several {
    /// The change to a recipe that they say.
    pub(crate) fn change(&self) -> Option<String> {
        self.folds.map(|folds| format!("data.folds={folds}"))
    }

    /// The runs that are asked for.
    pub(crate) fn runs(&self, recipe: &Recipe) -> Result<Runs> {
        let seeds = self.seeds.as_deref().map(|text| seeds(text, recipe.seed)).transpose()?.unwrap_or_default();
        Ok(Runs::new(recipe.clone(), &seeds)?)
    }
}

/// `3` from seed 0 on is `0,1,2`; `3,` is 3 alone.
fn seeds(text: &str, first: u64) -> Result<Vec<u64>> {
    let number = |part: &str| {
        part.trim().parse().with_context(|| format!("--seeds is {text:?}: write how many, 5, or which ones, 0,3,7"))
    };
    if text.contains(',') {
        return text.split(',').filter(|part| !part.trim().is_empty()).map(number).collect();
    }
    match number(text)? {
        0 => bail!("--seeds is 0: want 1 or more"),
        count => match first.checked_add(count) {
            Some(end) => Ok((first..end).collect()),
            None => {
                bail!("--seeds is {text:?} from seed {first} on: there are no such seeds, begin with a lower --seed")
            }
        },
    }
}

/// Trains `runs` below `root` and prints what they say together.
pub(crate) fn train(runs: &Runs, root: &Path, jobs: usize, parent: &Parent) -> Result<()> {
    let device = parent.device()?;
    let stop = stop_on_signal("finishing the steps and saving; Ctrl-C again ends at once")?;
    let progress = Progress::new(&runs.members(), root)?;
    let setting = Setting {
        data_dir: parent.data_dir.as_deref(),
        device: &device,
        stop: &stop,
        jobs,
        on_event: &|run, event| progress.show(run, event),
    };
    let summary = runs.train(root, &setting)?;
    progress.finish();
    println!("{}", summary.table().markdown().trim_end());
    println!("\nrun folders and summary.json: {}", root.display());
    Ok(())
}

/// How far all runs together are: a bar in a terminal, JSON lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Steps of each run, and those it has done.
    steps: Mutex<BTreeMap<String, [u64; 2]>>,
}

/// An event with the run that it is of.
#[derive(Serialize)]
struct Line<'a> {
    run: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

impl Progress {
    /// Of `members`, some of which may be complete below `root`.
    pub(crate) fn new(members: &[Member], root: &Path) -> Result<Self> {
        let steps: BTreeMap<String, [u64; 2]> = members
            .iter()
            .map(|Member { name, recipe }| {
                let complete = root.join(name).join("evaluation.json").exists();
                (name.clone(), [recipe.train.steps, if complete { recipe.train.steps } else { 0 }])
            })
            .collect();
        let progress = Self::of_steps(steps.values().map(|[all, _]| all).sum())?;
        Ok(Self { steps: Mutex::new(steps), ..progress })
    }

    /// Of runs that are not known yet, of so many steps together.
    pub(crate) fn of_steps(total: u64) -> Result<Self> {
        let bar = std::io::stdout().is_terminal().then(|| progress_bar(total)).transpose()?;
        Ok(Self { bar, steps: Mutex::default() })
    }

    /// Says something: `line` to programs, or what `text` gives to people.
    pub(crate) fn say(&self, line: &impl Serialize, text: impl FnOnce() -> String) {
        match (&self.bar, serde_json::to_string(line)) {
            (Some(bar), _) => bar.println(text()),
            (None, Ok(line)) => tell(&line),
            (None, Err(_)) => {}
        }
    }

    /// Takes note of an event of `run`.
    pub(crate) fn show(&self, run: &str, event: &Event) {
        let Some(bar) = &self.bar else {
            return self.say(&Line { run, event }, String::new);
        };
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Start { step, steps: all } | Event::Step { step, steps: all, .. } => {
                steps.insert(run.to_owned(), [*all, *step]);
            }
            // Also of those that stopped early.
            Event::Evaluating => {
                steps.entry(run.to_owned()).and_modify(|[all, done]| *done = *all);
            }
            _ => {}
        }
        bar.set_position(steps.values().map(|[_, done]| done).sum());
        drop(steps);
        match event {
            Event::Step { loss, lr, images_per_second, .. } => {
                bar.set_message(format!("{run}: {images_per_second:.0} images/s, loss {loss:.4}, lr {lr:.1e}"));
            }
            Event::Damaged { problem, step } => {
                bar.println(format!("{run}: {problem}; going on from an older checkpoint, of step {step}"));
            }
            Event::Finish => bar.println(format!("{run}: complete")),
            _ => {}
        }
    }

    /// All is done.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_list() {
        assert_eq!(seeds("3", 0).unwrap(), [0, 1, 2]);
        assert_eq!(seeds("2", 7).unwrap(), [7, 8]);
        assert_eq!(seeds("3,", 0).unwrap(), [3]);
        assert_eq!(seeds("0, 3,7", 5).unwrap(), [0, 3, 7]);
        for wrong in ["0", "many", "1,x", "-2"] {
            assert!(seeds(wrong, 0).unwrap_err().to_string().contains("--seeds"), "{wrong}");
        }
    }
}
