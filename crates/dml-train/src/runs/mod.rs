//! Several runs in one command: a recipe under several seeds, on all folds of its classes, or both; each in a run folder of its own
//! below a common one, and what they say together.
//!
//! ```text
//! ROOT/seed-0/          ROOT/fold-0/          ROOT/seed-0/fold-0/   ordinary run folders
//! ROOT/seed-1/ …        ROOT/fold-1/ …        ROOT/seed-0/fold-1/ …
//!                       ROOT/ensemble.json    ROOT/seed-0/ensemble.json
//! ROOT/summary.json     mean and interval of every figure
//! ```
//!
//! Of folds two models are measured on the test classes, as in Musgrave et al. (2020): *separated* is the mean over the models of the
//! folds, *concatenated* the one model whose embeddings are theirs joined.
//!
//! Nothing but the run folders is remembered: what is complete in them is not done again, what is half done goes on.

mod ensemble;
mod summary;
mod turns;

pub use summary::{FigureSummary, Row, Summary};

use crate::evaluation::Evaluation;
use crate::run::{RunFolder, run_on};
use crate::sets::Sets;
use crate::{Error, Event, Recipe, Result, checkpoint, sets};
use candle_core::Device;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Where and how runs run.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Folder of the data sets; default: [`dml_data::data_dir`].
    pub data_dir: Option<&'a Path>,
    /// Where tensors live.
    pub device: &'a Device,
    /// Becomes true when all should stop: each run that is under way finishes its step and saves.
    pub stop: &'a AtomicBool,
    /// Runs at a time; they share the threads of rayon's pool evenly. It changes no number.
    pub jobs: usize,
    /// Hears of the events of each run, by the name of its folder.
    pub on_event: &'a (dyn Fn(&str, &Event) + Sync),
}

/// One run of several.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its folder, relative to the common one: `seed-1`; empty: the common one itself.
    pub name: String,
    /// What is run.
    pub recipe: Recipe,
}

impl Member {
    fn with(mut self, change: impl FnOnce(&mut Recipe)) -> Self {
        change(&mut self.recipe);
        self
    }

    /// The same holding out fold `fold`, in a folder of its own below.
    fn fold(&self, fold: usize) -> Self {
        let name = match self.name.as_str() {
            "" => format!("fold-{fold}"),
            seed => format!("{seed}/fold-{fold}"),
        };
        Self { name, recipe: self.recipe.clone() }.with(|recipe| recipe.data.fold = Some(fold))
    }

    /// What it has achieved in its folder below `root`, if it is complete.
    fn finished(&self, root: &Path) -> Result<Option<Evaluation>> {
        match RunFolder::existing(&root.join(&self.name)) {
            Ok(folder) => folder.finished(&self.recipe),
            // It is not begun.
            Err(_) => Ok(None),
        }
    }

    /// Its data, opened by what lies in its folder below `root` where it has begun.
    pub(crate) fn sets(&self, root: &Path, setting: &Setting<'_>) -> Result<Sets> {
        match RunFolder::existing(&root.join(&self.name)) {
            Ok(folder) => folder.sets(&self.recipe, setting.data_dir),
            // It is not begun.
            Err(_) => sets::open(&self.recipe, setting.data_dir),
        }
    }

    /// Trains on `sets` in its folder below `root`.
    pub(crate) fn train(&self, sets: &Sets, root: &Path, setting: &Setting<'_>) -> Result<Evaluation> {
        let folder = RunFolder::open(&root.join(&self.name))?;
        let on_event = &mut |event: &Event| (setting.on_event)(&self.name, event);
        run_on(&self.recipe, sets, &folder, setting.device, setting.stop, on_event)
    }
}

/// A recipe under several seeds, or on all folds of its classes.
pub struct Runs {
    recipe: Recipe,
    /// Seeds, each with a folder; none: the recipe's own, without.
    seeds: Vec<u64>,
}

impl Runs {
    /// `recipe` once for each of `seeds`, or with none of them once with its own; and for each of its `data.folds`, unless it names
    /// one.
    ///
    /// # Errors
    /// When a seed is named twice.
    pub fn new(recipe: Recipe, seeds: &[u64]) -> Result<Self> {
        if let Some(twice) = seeds.iter().enumerate().find(|(i, seed)| seeds[..*i].contains(seed)) {
            let seed = twice.1;
            return Err(Error::Recipe(format!("seed {seed} is named twice: the same run again says nothing new")));
        }
        Ok(Self { recipe, seeds: seeds.to_vec() })
    }

    /// Whether it is an ordinary run, in the common folder itself.
    pub fn is_one(&self) -> bool {
        self.seeds.is_empty() && self.folds().is_none()
    }

    /// How many folds each seed has.
    fn folds(&self) -> Option<usize> {
        self.recipe.data.folds.filter(|_| self.recipe.data.fold.is_none())
    }

    /// All runs, seed by seed.
    pub fn members(&self) -> Vec<Member> {
        let of_seed = |&seed: &u64| {
            Member { name: format!("seed-{seed}"), recipe: self.recipe.clone() }.with(|recipe| recipe.seed = seed)
        };
        let seeds: Vec<Member> = match self.seeds.is_empty() {
            true => vec![Member { name: String::new(), recipe: self.recipe.clone() }],
            false => self.seeds.iter().map(of_seed).collect(),
        };
        match self.folds() {
            None => seeds,
            Some(folds) => seeds.iter().flat_map(|seed| (0..folds).map(|fold| seed.fold(fold))).collect(),
        }
    }

    /// Trains and measures all of them below `root`, and leaves `summary.json` there.
    ///
    /// # Errors
    /// As [`crate::run::run`]; when `root` is itself the folder of a run; and [`Error::InterruptedBefore`].
    pub fn train(&self, root: &Path, setting: &Setting<'_>) -> Result<Summary> {
        if !self.is_one() && root.join("recipe.toml").exists() {
            return Err(Error::file(root, "is the folder of a single run: choose another --run-dir for several"));
        }
        let members = self.members();
        let evaluations = in_turn(&members, setting, |member| match member.finished(root)? {
            Some(evaluation) => Ok(evaluation),
            None => member.train(&member.sets(root, setting)?, root, setting),
        })?;
        let rows = match self.folds() {
            None => vec![Row::new(&self.recipe.name, &evaluations)],
            Some(folds) => rows_of_folds(&members, &evaluations, folds, root, setting)?,
        };
        let summary = Summary {
            name: self.recipe.name.clone(),
            seeds: if self.seeds.is_empty() { vec![self.recipe.seed] } else { self.seeds.clone() },
            folds: self.folds(),
            weights: self.recipe.train.evaluate,
            rows,
        };
        checkpoint::write_atomically(&root.join("summary.json"), summary.to_json()?.as_bytes())?;
        Ok(summary)
    }
}

/// What the models of the folds achieve by themselves, and together.
fn rows_of_folds(
    members: &[Member],
    evaluations: &[Evaluation],
    folds: usize,
    root: &Path,
    setting: &Setting<'_>,
) -> Result<Vec<Row>> {
    let of_seed = |members: &[Member]| {
        let folder = root.join(&members[0].name);
        ensemble::of_folds(members, root, &folder.parent().unwrap_or(root).join("ensemble.json"), setting)
    };
    let ensembles = members.chunks(folds).map(of_seed).collect::<Result<Vec<_>>>()?;
    let (dim, models) = (ensembles[0].dim, ensembles[0].models);
    let together: Vec<Evaluation> = ensembles.into_iter().map(|ensemble| ensemble.evaluation).collect();
    Ok(vec![
        Row::over(&format!("separated {}-dim", dim / models), evaluations.chunks(folds)),
        Row::new(&format!("concatenated {dim}-dim"), &together),
    ])
}

/// Does `work` for each of `members`, as many at a time as `setting` says; results in order.
pub(crate) fn in_turn<T: Send>(
    members: &[Member],
    setting: &Setting<'_>,
    work: impl Fn(&Member) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    turns::take(&names, setting.jobs, setting.stop, |i| work(&members[i]))
}
