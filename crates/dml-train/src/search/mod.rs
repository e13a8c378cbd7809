//! Search for the values of a recipe's keys that do best on the validation classes or pairs. Those of the test are never measured.
//!
//! ```text
//! ROOT/search.toml       what is searched: recipe, space, sampler, seed
//! ROOT/trials.jsonl      one trial a line, with its values and what it achieved
//! ROOT/trial-000/ …      run folders, or with folds a folder of them
//! ROOT/best.toml         the recipe that did best
//! ```
//!
//! A trial's values follow from the seed and the trials before it, so a search that was killed goes on as if it had not been, with the
//! run that was under way from its checkpoint; and more trials can be added to a complete one.

mod sampler;
mod space;

pub use sampler::{STARTUP, Sampler};
pub use space::{Space, Values};

use crate::figures::Figure;
use crate::runs::{Member, Runs, Setting, in_turn};
use crate::sets::{self, Sets};
use crate::{Error, Recipe, Result, Trainer, checkpoint};
use serde::{Deserialize, Serialize};
use space::Distribution;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// What is searched.
pub struct Search {
    /// The recipe as its file says it, and changes to it that hold for all trials.
    pub recipe: (String, Vec<String>),
    /// The keys that are searched.
    pub space: Space,
    /// How values are drawn.
    pub sampler: Sampler,
    /// Seed of the draws. That of the runs is the recipe's.
    pub seed: u64,
}

/// A trial that is over: a line of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number, from 0.
    pub trial: u64,
    /// Its values.
    pub values: Values,
    /// The figure that trials are judged by, as [`Figure`] calls it.
    #[serde(default = "of_classes")]
    pub judged_by: String,
    /// That figure, over folds the mean; nothing where loss, gradient or embeddings did not stay finite, or all embeddings of pairs
    /// became alike.
    #[serde(alias = "map_at_r")]
    pub achieved: Option<f64>,
    /// The figure of each fold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<f64>,
}

/// What trials were judged by before there were any over pairs.
fn of_classes() -> String {
    BY_CLASSES.to_owned()
}

const BY_CLASSES: &str = "validation_map_at_r";
const BY_BOTH_WAYS: &str = "validation_cross_modal_map_at_r";
const BY_PAIRS: &str = "validation_spearman";
/// What a trial without a figure counts as: no correlation is lower, and no MAP@R.
const WORST: f64 = -1.0;

/// The echo of a search: `search.toml`.
#[derive(Serialize)]
struct Echo<'a> {
    sampler: Sampler,
    seed: u64,
    space: BTreeMap<&'a str, &'a Distribution>,
    recipe: &'a Recipe,
}

impl Search {
    /// Does what is left of `trials` trials below `root`; all trials. `on_trial` hears of each that ends.
    ///
    /// # Errors
    /// When a recipe of the space refuses its values, there are no validation classes or pairs, the folder is that of another search,
    /// or a run fails otherwise than by growing beyond all numbers or by collapsing.
    pub fn run(
        &self,
        root: &Path,
        trials: u64,
        setting: &Setting<'_>,
        on_trial: &mut dyn FnMut(&Trial),
    ) -> Result<Vec<Trial>> {
        let judge = self.check(setting)?;
        self.keep_echo(root)?;
        let mut done = self.read(root)?;
        self.keep_best(root, &done)?;
        while (done.len() as u64) < trials {
            let number = done.len() as u64;
            let history: Vec<(&Values, f64)> =
                done.iter().map(|trial| (&trial.values, trial.achieved.unwrap_or(WORST))).collect();
            let values = self.sampler.suggest(&self.space, self.seed, number, &history)?;
            let trial = self.try_values((number, values), judge, root, setting)?;
            done.push(trial);
            write(root, &done)?;
            // What follows must not depend on whether it was read or remembered.
            done = self.read(root)?;
            self.keep_best(root, &done)?;
            done.last().into_iter().for_each(&mut *on_trial);
        }
        Ok(done)
    }

    /// The recipe with the values of a trial.
    fn recipe_with(&self, values: &Values) -> Result<Recipe> {
        let changes = values.iter().map(|(key, value)| match toml::Value::try_from(value) {
            Ok(value) => Ok(format!("{key}={value}")),
            Err(e) => Err(Error::Recipe(format!("{key} = {value}: {e}"))),
        });
        let changes = self.recipe.1.iter().cloned().map(Ok).chain(changes).collect::<Result<Vec<_>>>()?;
        Recipe::parse(&self.recipe.0, &changes)
    }

    /// The runs of a trial: one, or one for each fold.
    fn members(&self, number: u64, values: &Values) -> Result<Vec<Member>> {
        let mut members = Runs::new(self.recipe_with(values)?, &[])?.members();
        for member in &mut members {
            let below = if member.name.is_empty() { String::new() } else { format!("/{}", member.name) };
            member.name = format!("trial-{number:03}{below}");
        }
        Ok(members)
    }

    /// Refuses what would only be refused after hours; the figure that trials are judged by.
    fn check(&self, setting: &Setting<'_>) -> Result<&'static Figure> {
        let mut judge: Option<&Figure> = None;
        for values in self.space.corners() {
            let said = |e: Error| Error::Recipe(format!("the space has {}: {e}", shown(&values)));
            let members = self.members(0, &values).map_err(said)?;
            let recipe = &members[0].recipe;
            let sets = sets::open(recipe, setting.data_dir)?;
            let figure = judge_of(&sets)?;
            if let Some(other) = judge.replace(figure).filter(|other| other.key != figure.key) {
                let (a, b) = (other.heading, figure.heading);
                return Err(Error::Recipe(format!(
                    "some trials of the space would be judged by {a}, others by {b}: search sets of one kind"
                )));
            }
            Trainer::new(recipe, &sets, setting.device).map_err(said)?;
        }
        judge.ok_or_else(|| Error::Recipe("the space has no key: name one to search".to_owned()))
    }

    fn try_values(
        &self,
        (number, values): (u64, Values),
        judge: &Figure,
        root: &Path,
        setting: &Setting<'_>,
    ) -> Result<Trial> {
        let members = self.members(number, &values)?;
        let found = in_turn(&members, setting, |member| {
            let sets = member.sets(root, setting)?.without_test();
            match member.train(&sets, root, setting) {
                Err(e) if e.is_lost() => Ok(None),
                ran => judge.of(&ran?).map(Some).ok_or_else(|| {
                    Error::Recipe(
                        "no validation class has two images, so that nothing can be chosen by them".to_owned(),
                    )
                }),
            }
        });
        let found = found.map_err(|e| match e.is_interruption() {
            true => e,
            false => Error::Trial { trial: number, values: shown(&values), source: Box::new(e) },
        })?;
        let found: Option<Vec<f64>> = found.into_iter().collect();
        let achieved = found.as_ref().map(|found| dml_eval::statistics::mean(found));
        let folds = found.filter(|found| found.len() > 1).unwrap_or_default();
        Ok(Trial { trial: number, values, judged_by: judge.key.to_owned(), achieved, folds })
    }

    /// Writes what is searched, or refuses a folder in which something else is.
    fn keep_echo(&self, root: &Path) -> Result<()> {
        let path = root.join("search.toml");
        let recipe = Recipe::parse(&self.recipe.0, &self.recipe.1)?;
        let space = self.space.parameters().iter().map(|p| (p.key.as_str(), &p.distribution)).collect();
        let echo = Echo { sampler: self.sampler, seed: self.seed, space, recipe: &recipe };
        let text = toml::to_string(&echo).map_err(|e| Error::Recipe(e.to_string()))?;
        match std::fs::read_to_string(&path) {
            Ok(old) if old == text => Ok(()),
            Ok(_) => Err(Error::file(
                root,
                "the folder was begun with another recipe, space, sampler or seed, see its search.toml: choose another --run-dir, \
                 or remove the folder",
            )),
            // They do not say of which search they are.
            Err(e) if e.kind() == ErrorKind::NotFound && root.join("trials.jsonl").exists() => Err(Error::file(
                root,
                "holds trials, but no search.toml to say of which search: bring that back, choose another --run-dir, or remove the \
                 folder",
            )),
            Err(e) if e.kind() == ErrorKind::NotFound => checkpoint::write_atomically(&path, text.as_bytes()),
            Err(e) => Err(Error::file(&path, e)),
        }
    }

    fn keep_best(&self, root: &Path, done: &[Trial]) -> Result<()> {
        let Some(best) = best(done) else { return Ok(()) };
        let path = root.join("best.toml");
        let text = self.recipe_with(&best.values)?.to_toml()?;
        match std::fs::read_to_string(&path) {
            Ok(old) if old == text => Ok(()),
            _ => checkpoint::write_atomically(&path, text.as_bytes()),
        }
    }

    /// The trials that are over.
    fn read(&self, root: &Path) -> Result<Vec<Trial>> {
        let path = root.join(TRIALS);
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|e| Error::file(&path, e))?,
        };
        let damaged = |line: usize, problem: String| {
            Error::file(&path, format!("line {}: {problem}: remove that line and those after it", line + 1))
        };
        let trials = text.lines().enumerate().map(|(i, line)| {
            let trial: Trial = serde_json::from_str(line).map_err(|e| damaged(i, e.to_string()))?;
            match trial.trial == i as u64 {
                true => Ok(trial),
                false => Err(damaged(i, format!("it is trial {}", trial.trial))),
            }
        });
        trials.collect()
    }
}

/// What a search over `sets` chooses by.
fn judge_of(sets: &Sets) -> Result<&'static Figure> {
    let key = match (&sets.validation, &sets.scored[0], &sets.captions[0]) {
        (Some(_), _, Some(_)) => Some(BY_BOTH_WAYS),
        (Some(_), _, None) => Some(BY_CLASSES),
        (None, Some(_), _) => Some(BY_PAIRS),
        (None, None, _) => None,
    };
    key.and_then(Figure::find).ok_or_else(|| {
        let mend = "set data.validation or data.folds, or give pairs a part `validation`";
        Error::Recipe(format!("a search chooses by validation classes or pairs but there are none: {mend}"))
    })
}

const TRIALS: &str = "trials.jsonl";

fn write(root: &Path, trials: &[Trial]) -> Result<()> {
    let path = root.join(TRIALS);
    let lines = trials.iter().map(|trial| serde_json::to_string(trial).map(|line| line + "\n"));
    let text = lines.collect::<std::result::Result<String, _>>().map_err(|e| Error::file(&path, e))?;
    checkpoint::write_atomically(&path, text.as_bytes())
}

/// The trial that did best, of equals the first.
pub fn best(trials: &[Trial]) -> Option<&Trial> {
    let measured = trials.iter().filter_map(|trial| Some((trial.achieved?, trial)));
    measured.rev().max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, trial)| trial)
}

/// Values for a message: `optimizer.lr = 0.01, …`.
fn shown(values: &Values) -> String {
    values.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}
