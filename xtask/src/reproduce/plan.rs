//! What `reproduce-paper` will do: suites of recipes × seeds, as one list of jobs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::suite::{Suite, hub_command, overridden, recipe_needs, suite_files};
use crate::dataset;
use crate::workspace;

/// One process to run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Job {
    /// File stem of the suite.
    pub(crate) suite: String,
    /// Name of the row.
    pub(crate) name: String,
    /// Where everything of the job goes.
    pub(crate) dir: PathBuf,
    /// What to run.
    pub(crate) work: Work,
    /// Why it is not run.
    pub(crate) skipped: Option<String>,
    /// Class folds that it is trained on, in folders of their own below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folds: Option<u64>,
    /// What it does less of than the published protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shortened: Option<String>,
    /// How to get the weights that it begins with, where they lie on the hub. Whether they are here only `dml` knows.
    #[serde(skip)]
    pub(crate) weights: Option<String>,
}

/// What a job does.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// `dml train`
    Train {
        /// The recipe file.
        recipe: PathBuf,
        /// Seed of the run.
        seed: u64,
        /// Changes to the recipe.
        set: Vec<String>,
        /// Steps of the run, of all folds together.
        steps: u64,
        /// Images a step.
        batch: u64,
    },
    /// `dml baseline`
    Baseline,
}

impl Job {
    /// For messages.
    pub(crate) fn title(&self) -> String {
        match &self.work {
            Work::Train { seed, .. } => format!("{}/{} seed {seed}", self.suite, self.name),
            Work::Baseline => format!("{}/{}", self.suite, self.name),
        }
    }

    /// Whether an earlier run has completed it, though perhaps with another recipe.
    pub(crate) fn was_complete(&self) -> bool {
        self.result().exists()
    }

    /// The file whose presence means that the job is complete.
    pub(crate) fn result(&self) -> PathBuf {
        self.dir.join(if self.folds.is_some() { "summary.json" } else { "evaluation.json" })
    }

    /// Where the process's standard error goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log.txt")
    }
}

/// All jobs, in the order of the suites.
#[derive(Serialize)]
pub(crate) struct Plan {
    suites: Vec<Heading>,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
pub(super) struct Heading {
    pub(super) suite: String,
    pub(super) title: String,
    #[serde(skip)]
    pub(super) cost: String,
    #[serde(flatten)]
    pub(super) table: toml::Table,
}

/// Where a plan is to run.
pub(crate) struct Place<'a> {
    /// Folder of the runs.
    pub(crate) out: &'a Path,
    /// Folder of the data sets.
    pub(crate) data: &'a Path,
    /// Whether there is more than a CPU.
    pub(crate) gpu: bool,
}

impl Plan {
    /// Reads `recipes/suites/*.toml`, with `all` those that run on request only as well, or the one named `only`.
    pub(crate) fn read(recipes: &Path, only: Option<&str>, all: bool, place: &Place<'_>) -> Result<Self> {
        let mut plan = Self { suites: vec![], jobs: vec![] };
        for path in suite_files(&recipes.join("suites"), only)? {
            plan.add(&path, recipes, all || only.is_some(), place)
                .with_context(|| format!("suite {}", workspace::shown(&path)))?;
        }
        Ok(plan)
    }

    fn add(&mut self, path: &Path, recipes: &Path, asked: bool, &Place { out, data, gpu }: &Place<'_>) -> Result<()> {
        let suite: Suite = toml::from_str(&fs::read_to_string(path)?)?;
        if suite.on_request && !asked {
            return Ok(());
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = BTreeSet::new();
        for baseline in &suite.baseline {
            self.jobs.push(Job {
                suite: stem.clone(),
                name: baseline.name.clone(),
                dir: out.join(&stem).join(&baseline.name),
                work: Work::Baseline,
                skipped: missing(baseline.needs.as_deref(), data)?,
                folds: None,
                shortened: None,
                weights: None,
            });
            check_name(&baseline.name, &mut names)?;
        }
        for job in &suite.job {
            check_name(&job.name, &mut names)?;
            if job.seeds.is_empty() {
                bail!("job `{}` has no seeds: give at least one, e.g. seeds = [0, 1, 2]", job.name);
            }
            let recipe = recipes.join(&job.recipe);
            let size = recipe_needs(&recipe).with_context(|| format!("job `{}`: {}", job.name, recipe.display()))?;
            let no_gpu = (job.gpu && !gpu).then(|| "a GPU: add --device cuda".to_owned());
            let file = job.file.as_ref().map(|file| data.join(file));
            let no_file = file.as_ref().filter(|file| !file.is_file());
            let no_file = no_file.map(|file| format!("the weights {}: lay them there", file.display()));
            let needs = missing(job.needs.as_deref(), data)?;
            let lacks: Vec<String> = needs.into_iter().chain(no_file).chain(no_gpu).collect();
            let begins = file.map(|file| format!("model.weights={}", file.display()));
            if job.folds.is_some_and(|folds| folds < 2) {
                bail!("job `{}` has less than 2 folds: give more, or leave `folds` out", job.name);
            }
            let folds = job.folds.map(|folds| format!("data.folds={folds}"));
            let set: Vec<String> = job.set.iter().cloned().chain(begins).chain(folds).collect();
            let skipped = (!lacks.is_empty()).then(|| lacks.join("; and "));
            let number = |key: &str, own: u64| -> Result<u64> {
                let Some(value) = overridden(&job.set, key) else { return Ok(own) };
                value.parse().with_context(|| format!("job `{}`: {key}={value}", job.name))
            };
            let steps = number("train.steps", size.train.steps)?;
            let classes = number("sampler.classes", size.sampler.classes)?;
            let batch = classes * number("sampler.per_class", size.sampler.per_class)?;
            let weights = overridden(&set, "model.weights").or(size.model.weights.as_deref()).and_then(hub_command);
            for &seed in &job.seeds {
                self.jobs.push(Job {
                    suite: stem.clone(),
                    name: job.name.clone(),
                    dir: out.join(&stem).join(&job.name).join(format!("seed-{seed}")),
                    work: Work::Train {
                        recipe: recipe.clone(),
                        seed,
                        set: set.clone(),
                        steps: steps * job.folds.unwrap_or(1),
                        batch,
                    },
                    skipped: skipped.clone(),
                    folds: job.folds,
                    shortened: job.shortened.clone(),
                    weights: weights.clone(),
                });
            }
        }
        self.suites.push(Heading { suite: stem, title: suite.title, cost: suite.cost, table: suite.table });
        Ok(())
    }

    /// One seed a recipe, `steps` steps each.
    pub(crate) fn shorten(&mut self, steps: u64) {
        let mut seen = BTreeSet::new();
        self.jobs.retain(|job| seen.insert((job.suite.clone(), job.name.clone())));
        for job in &mut self.jobs {
            if let Work::Train { set, steps: all, .. } = &mut job.work {
                set.push(format!("train.steps={steps}"));
                *all = steps * job.folds.unwrap_or(1);
                job.shortened = Some(format!("--quick, {steps} steps"));
            }
        }
    }

    /// Jobs to start: all that can run, without complete baselines. Complete training is among them, and first: `dml`
    /// returns at once if it was done by this very recipe, and otherwise fails before any work is spent.
    pub(crate) fn open_jobs(&self) -> Vec<&Job> {
        let open = |job: &&Job| match job.work {
            Work::Train { .. } => true,
            Work::Baseline => !job.was_complete(),
        };
        let mut jobs: Vec<&Job> = self.jobs.iter().filter(|job| job.skipped.is_none()).filter(open).collect();
        jobs.sort_by_key(|job| !job.was_complete());
        jobs
    }

    /// Whether a job that can run begins with weights from the hub.
    pub(crate) fn wants_weights(&self) -> bool {
        self.jobs.iter().any(|job| job.weights.is_some() && job.skipped.is_none())
    }

    /// Takes the jobs in the folders `left_out`, whose weights could not be had, out of it.
    pub(crate) fn skip_without_weights(&mut self, left_out: &BTreeSet<PathBuf>) {
        for job in self.jobs.iter_mut().filter(|job| left_out.contains(&job.dir)) {
            job.skipped = job.weights.as_ref().map(|command| format!("{command}, where the hub is reached"));
        }
    }

    /// All suites.
    pub(super) fn suites(&self) -> &[Heading] {
        &self.suites
    }

    /// All jobs of a suite, in its order.
    pub(super) fn jobs_of(&self, suite: &str) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| job.suite == suite)
    }

    /// Jobs that cannot run, with the reason; one entry for all seeds of a recipe.
    pub(crate) fn skipped(&self) -> Vec<(&Job, &str)> {
        let mut seen = BTreeSet::new();
        let skipped = self.jobs.iter().filter_map(|job| Some((job, job.skipped.as_deref()?)));
        skipped.filter(|(job, _)| seen.insert((&job.suite, &job.name))).collect()
    }

    /// Writes the plan to `out/plan.json`, from which the report knows titles, order and what was skipped.
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        workspace::write_atomically(&out.join("plan.json"), &serde_json::to_vec_pretty(self)?)
    }
}

/// A name is also a folder: it must be one, and each folder has one owner.
fn check_name(name: &str, names: &mut BTreeSet<String>) -> Result<()> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    if !plain || name.starts_with('.') {
        bail!("`{name}` cannot name a folder: use letters, digits and - _ . +");
    }
    if !names.insert(name.to_owned()) {
        bail!("two jobs are named `{name}`: their runs would share a folder");
    }
    Ok(())
}

/// How to get the data set a job needs, if it is not there.
fn missing(needs: Option<&str>, data: &Path) -> Result<Option<String>> {
    match needs {
        None => Ok(None),
        Some(name) => dataset::missing(name, data),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A training job of 10 steps of 4 images below `out`, complete or not.
    pub(crate) fn training(out: &Path, name: &str, complete: bool) -> Job {
        let work = Work::Train { recipe: "recipe.toml".into(), seed: 0, set: vec![], steps: 10, batch: 4 };
        job(out, name, work, complete)
    }

    fn job(out: &Path, name: &str, work: Work, complete: bool) -> Job {
        let dir = out.join(name);
        let job = Job {
            suite: "suite".into(),
            name: name.into(),
            dir,
            work,
            skipped: None,
            folds: None,
            shortened: None,
            weights: None,
        };
        fs::create_dir_all(&job.dir).unwrap();
        if complete {
            fs::write(job.result(), "{}").unwrap();
        }
        job
    }

    #[test]
    fn complete_training_is_started_again_and_first() {
        let out = tempfile::tempdir().unwrap();
        let out = out.path();
        let skipped = Job { skipped: Some("no data".into()), ..training(out, "skipped", true) };
        let jobs = vec![
            job(out, "old-baseline", Work::Baseline, true),
            job(out, "new-baseline", Work::Baseline, false),
            training(out, "new", false),
            training(out, "old", true),
            skipped,
        ];
        let plan = Plan { suites: vec![], jobs };
        let names: Vec<&str> = plan.open_jobs().iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["old", "new-baseline", "new"]);
    }

    #[test]
    fn weights_that_cannot_be_had_are_the_reason_and_the_command_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let recipes = folder.path();
        fs::create_dir(recipes.join("suites")).unwrap();
        let recipe = "[model]\nweights = \"hf://timm/vit/model.safetensors\"\n[train]\nsteps = 10\n[sampler]\nclasses = 2\nper_class = 3\n";
        fs::write(recipes.join("one.toml"), recipe).unwrap();
        let row = |name: &str, more: &str| {
            format!("[[job]]\nname = \"{name}\"\nrecipe = \"one.toml\"\nseeds = [0]\n{more}\n")
        };
        let rows = [
            row("hub", ""),
            row("own", "set = [\"model.weights=own.safetensors\"]"),
            row("file", "file = \"one.toml\""),
        ];
        fs::write(recipes.join("suites/few.toml"), format!("title = \"few\"\n{}", rows.concat())).unwrap();
        let place = Place { out: &recipes.join("out"), data: recipes, gpu: false };
        let mut plan = Plan::read(recipes, None, true, &place).unwrap();
        let command = "hf download timm/vit model.safetensors";
        assert_eq!([0, 1, 2].map(|i| plan.jobs[i].weights.as_deref()), [Some(command), None, None]);
        assert!(plan.wants_weights());
        plan.skip_without_weights(&BTreeSet::from([plan.jobs[0].dir.clone()]));
        let skipped: Vec<(&str, &str)> = plan.skipped().iter().map(|(job, why)| (job.name.as_str(), *why)).collect();
        assert_eq!(skipped, [("hub", "hf download timm/vit model.safetensors, where the hub is reached")]);
        assert!(!plan.wants_weights());
    }

    #[test]
    fn a_row_of_folds_is_one_job_with_all_their_steps() {
        let folder = tempfile::tempdir().unwrap();
        let (recipes, out) = (folder.path(), folder.path().join("out"));
        fs::create_dir(recipes.join("suites")).unwrap();
        let sizes = "[train]\nsteps = 10\n[sampler]\nclasses = 2\nper_class = 3\n";
        fs::write(recipes.join("one.toml"), sizes).unwrap();
        let place = Place { out: &out, data: folder.path(), gpu: false };
        let read = |folds: &str| {
            let row = format!("[[job]]\nname = \"row\"\nrecipe = \"one.toml\"\nseeds = [3]\n{folds}\n");
            fs::write(recipes.join("suites/few.toml"), format!("title = \"few\"\n{row}")).unwrap();
            Plan::read(recipes, None, true, &place)
        };
        let mut plan = read("folds = 4").unwrap();
        let size = |plan: &Plan| match &plan.jobs[..] {
            [Job { work: Work::Train { steps, set, .. }, .. }] => (*steps, set.clone()),
            jobs => panic!("{jobs:?}"),
        };
        assert_eq!(size(&plan), (40, vec!["data.folds=4".to_owned()]));
        assert_eq!(plan.jobs[0].result(), out.join("few/row/seed-3/summary.json"));
        plan.shorten(5);
        assert_eq!((size(&plan).0, plan.jobs[0].shortened.as_deref()), (20, Some("--quick, 5 steps")));
        let few = read("shortened = \"fewer steps\"").unwrap();
        assert_eq!((size(&few), few.jobs[0].shortened.as_deref()), ((10, vec![]), Some("fewer steps")));
        let error = format!("{:#}", read("folds = 1").err().unwrap());
        assert!(error.contains("`row` has less than 2 folds"), "{error}");
    }
}
