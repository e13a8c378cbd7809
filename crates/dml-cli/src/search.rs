//! `dml search`: trials of a recipe's values, chosen by validation classes or pairs.

use crate::several::Progress;
use crate::train::{Parent, stop_on_signal};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dml_eval::report::Table;
use dml_train::figures::Figure;
use dml_train::runs::{Runs, Setting};
use dml_train::search::{self, Sampler, Space, Trial};
use dml_train::{Recipe, search::Search as Task};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Search {
    /// The recipe, TOML
    recipe: PathBuf,
    /// The keys to search, TOML: sections of a recipe in which a value is { uniform = [low, high] }, log_uniform, int, log_int, or
    /// { choice = [one, another] }
    #[arg(long)]
    space: PathBuf,
    /// Trials in all; a complete search goes on with more
    #[arg(long)]
    trials: u64,
    /// Folder for trials.jsonl, best.toml and the runs; what is there is not done again
    #[arg(long)]
    run_dir: PathBuf,
    /// How values are drawn
    #[arg(long, value_enum, default_value_t = Method::Tpe)]
    sampler: Method,
    /// Seed of the draws; the runs have the recipe's
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Change a key of the recipe for all trials, e.g. train.steps=100
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Judge each trial by this many folds of the training and validation classes, as `data.folds`
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Folds at a time, which share the threads
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    #[command(flatten)]
    parent: Parent,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// Tree-structured Parzen estimator, after ten random trials
    Tpe,
    /// Each trial by itself
    Random,
}

/// A trial in the output that programs read.
#[derive(Serialize)]
#[serde(tag = "event", rename = "trial")]
struct Line<'a> {
    #[serde(flatten)]
    trial: &'a Trial,
}

pub(crate) fn search(arguments: &Search) -> Result<()> {
    arguments.parent.watch();
    let text = std::fs::read_to_string(&arguments.recipe).with_context(|| arguments.recipe.display().to_string())?;
    let folds = arguments.folds.map(|folds| format!("data.folds={folds}"));
    let changes: Vec<String> = arguments.set.iter().cloned().chain(folds).collect();
    // For its errors, which name the file.
    let recipe = Recipe::read(&arguments.recipe, &changes)?;
    let task = Task {
        recipe: (text, changes),
        space: Space::read(&arguments.space)?,
        sampler: match arguments.sampler {
            Method::Tpe => Sampler::Tpe,
            Method::Random => Sampler::Random,
        },
        seed: arguments.seed,
    };
    let device = arguments.parent.device()?;
    let stop = stop_on_signal("finishing the steps and saving; Ctrl-C again ends at once")?;
    let runs = Runs::new(recipe, &[])?.members();
    let steps = runs.iter().map(|run| run.recipe.train.steps).sum::<u64>() * arguments.trials;
    let progress = Progress::of_steps(steps)?;
    let setting = Setting {
        data_dir: arguments.parent.data_dir.as_deref(),
        device: &device,
        stop: &stop,
        jobs: arguments.jobs,
        on_event: &|run, event| progress.show(run, event),
    };
    let trials = task.run(&arguments.run_dir, arguments.trials, &setting, &mut |trial| {
        progress.say(&Line { trial }, || format!("trial {}: {}", trial.trial, achieved(trial)));
    })?;
    progress.finish();
    println!("{}", table(&arguments.recipe.display().to_string(), &task.space, &trials).markdown().trim_end());
    match search::best(&trials) {
        Some(best) => {
            let path = arguments.run_dir.join("best.toml");
            println!("\nbest: trial {}; dml train {}", best.trial, path.display());
            Ok(())
        }
        None => bail!("no trial has a figure, all were lost: lower optimizer.lr in the space"),
    }
}

fn achieved(trial: &Trial) -> String {
    trial.achieved.map_or("lost".to_owned(), |found| format!("{:.1}", 100.0 * found))
}

/// Trials, the best first.
fn table(title: &str, space: &Space, trials: &[Trial]) -> Table {
    let mut order: Vec<&Trial> = trials.iter().collect();
    order.sort_by(|a, b| b.achieved.unwrap_or(f64::MIN).total_cmp(&a.achieved.unwrap_or(f64::MIN)));
    let judge = trials.first().and_then(|trial| Figure::find(&trial.judged_by)).map_or("–", |figure| figure.heading);
    let row = |trial: &&Trial| {
        let values = space.keys().map(|key| trial.values.get(key).map_or("–".to_owned(), ToString::to_string));
        [trial.trial.to_string(), achieved(trial)].into_iter().chain(values).collect()
    };
    Table {
        title: title.to_owned(),
        columns: ["trial", judge].into_iter().chain(space.keys()).map(str::to_owned).collect(),
        rows: order.iter().map(row).collect(),
        note: "Percent; lost: no longer finite, or all embeddings alike. Nothing of the test was looked at.".to_owned(),
    }
}
