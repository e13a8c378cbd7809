//! What `reproduce-paper` will do: suites of recipes × seeds, as one list of jobs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::job::{Job, Work};
use super::quick;
use super::sets::Sets;
use super::suite::{RecipeNeeds, Suite, SuiteJob, hub_command, overridden, read_recipe, suite_files};
use crate::workspace;

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
    /// What `reproduce-paper` calls it, or of it the one row that is planned.
    #[serde(skip)]
    pub(super) called: String,
    #[serde(flatten)]
    pub(super) table: toml::Table,
}

/// Where a plan is to run.
pub(crate) struct Place<'a> {
    /// Folder of the runs.
    pub(crate) out: &'a Path,
    /// Folder of the data sets.
    pub(crate) data: &'a Path,
    /// Whether that folder was named, so that commands must name it, too.
    pub(crate) named: bool,
    /// Whether there is more than a CPU.
    pub(crate) gpu: bool,
}

/// How suites are read.
struct Reading<'a> {
    recipes: &'a Path,
    /// Whether those that run on request only are, too.
    asked: bool,
    /// The only row that is wanted.
    row: Option<&'a str>,
    place: &'a Place<'a>,
    sets: Sets<'a>,
}

impl Reading<'_> {
    /// What a job lacks to run here; `file` are the weights that it wants beside the data.
    fn lacks(&mut self, suite: &Suite, job: &SuiteJob, file: Option<&Path>) -> Result<Option<String>> {
        let no_file = file.filter(|file| !file.is_file()).map(|file| {
            let from = match suite.weights_from.as_str() {
                "" => String::new(),
                from => format!(", of {from}"),
            };
            format!("the weights {}{from}: lay them there", file.display())
        });
        let no_gpu = (job.gpu && !self.place.gpu).then(|| "a GPU: add --device cuda".to_owned());
        let lacks = [self.sets.lacks(job.needs.as_deref())?, no_file, no_gpu];
        let lacks: Vec<String> = lacks.into_iter().flatten().collect();
        Ok((!lacks.is_empty()).then(|| lacks.join("; and ")))
    }
}

impl Plan {
    /// Reads `recipes/suites/*.toml`, or `only` the suite of that name, or the row `SUITE/ROW`. To be listed are also those that run
    /// on request only, and a damaged data set is then what its rows need, and no error.
    pub(crate) fn read(recipes: &Path, only: Option<&str>, listed: bool, place: &Place<'_>) -> Result<Self> {
        let (suite, row) = match only.map(|only| only.split_once('/').ok_or(only)) {
            None => (None, None),
            Some(Ok((suite, row))) => (Some(suite), Some(row)),
            Some(Err(suite)) => (Some(suite), None),
        };
        let sets = Sets::new(place.data, place.named, listed);
        let mut reading = Reading { recipes, asked: listed || only.is_some(), row, place, sets };
        let mut plan = Self { suites: vec![], jobs: vec![] };
        for path in suite_files(&recipes.join("suites"), suite)? {
            plan.add(&path, &mut reading).with_context(|| format!("suite {}", workspace::shown(&path)))?;
        }
        Ok(plan)
    }

    fn add(&mut self, path: &Path, reading: &mut Reading<'_>) -> Result<()> {
        let mut suite: Suite = toml::from_str(&fs::read_to_string(path)?)?;
        if suite.on_request && !reading.asked {
            return Ok(());
        }
        suite.check_names()?;
        if let Some(row) = reading.row {
            suite.keep(row)?;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let dir = reading.place.out.join(&stem);
        for baseline in &suite.baseline {
            self.jobs.push(Job {
                suite: stem.clone(),
                name: baseline.name.clone(),
                dir: dir.join(&baseline.name),
                work: Work::Baseline,
                skipped: reading.sets.lacks(baseline.needs.as_deref())?,
                folds: None,
                shortened: None,
                weights: None,
            });
        }
        for job in &suite.job {
            if job.seeds.is_empty() {
                bail!("job `{}` has no seeds: give at least one, e.g. seeds = [0, 1, 2]", job.name);
            }
            if job.folds.is_some_and(|folds| folds < 2) {
                bail!("job `{}` has less than 2 folds: give more, or leave `folds` out", job.name);
            }
            let recipe = reading.recipes.join(&job.recipe);
            let size: RecipeNeeds =
                read_recipe(&recipe).with_context(|| format!("job `{}`: {}", job.name, recipe.display()))?;
            let file = job.file.as_ref().map(|file| reading.place.data.join(file));
            let skipped = reading.lacks(&suite, job, file.as_deref())?;
            let begins = file.map(|file| format!("model.weights={}", file.display()));
            let folds = job.folds.map(|folds| format!("data.folds={folds}"));
            let set: Vec<String> = job.set.iter().cloned().chain(begins).chain(folds).collect();
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
                    dir: dir.join(&job.name).join(format!("seed-{seed}")),
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
        let called = reading.row.map_or_else(|| stem.clone(), |row| format!("{stem}/{row}"));
        let Suite { title, cost, table, .. } = suite;
        self.suites.push(Heading { suite: stem, title, cost, called, table });
        Ok(())
    }

    /// One seed a recipe, `steps` steps each.
    pub(crate) fn shorten(&mut self, steps: u64) -> Result<()> {
        let mut seen = BTreeSet::new();
        self.jobs.retain(|job| seen.insert((job.suite.clone(), job.name.clone())));
        for job in &mut self.jobs {
            if let Work::Train { recipe, set, steps: all, .. } = &mut job.work {
                let recipe: toml::Table = read_recipe(recipe).with_context(|| recipe.display().to_string())?;
                let changes = quick::changes(&recipe, set, steps);
                set.extend(changes);
                *all = steps * job.folds.unwrap_or(1);
                job.shortened = Some(format!("--quick, {steps} steps"));
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::job::tests::{job, training};
    use super::*;

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
        let place = Place { out: &recipes.join("out"), data: recipes, named: false, gpu: false };
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
        let place = Place { out: &out, data: folder.path(), named: false, gpu: false };
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
        plan.shorten(5).unwrap();
        assert_eq!((size(&plan).0, plan.jobs[0].shortened.as_deref()), (20, Some("--quick, 5 steps")));
        let few = read("shortened = \"fewer steps\"").unwrap();
        assert_eq!((size(&few), few.jobs[0].shortened.as_deref()), ((10, vec![]), Some("fewer steps")));
        let error = format!("{:#}", read("folds = 1").err().unwrap());
        assert!(error.contains("`row` has less than 2 folds"), "{error}");
    }

    #[test]
    fn of_a_suite_one_row_may_be_planned() {
        let folder = tempfile::tempdir().unwrap();
        let recipes = folder.path();
        fs::create_dir(recipes.join("suites")).unwrap();
        fs::write(recipes.join("one.toml"), "[train]\nsteps = 10\n[sampler]\nclasses = 2\nper_class = 3\n").unwrap();
        let row = |name: &str, needs: &str| {
            format!("[[job]]\nname = '{name}'\nrecipe = 'one.toml'\nseeds = [0, 1]\n{needs}\n")
        };
        let rows = row("a", "needs = 'omniglot'\nfile = 'own.pth'") + &row("b", "");
        let head = "title = 'few'\non_request = true\nweights_from = 'https://nowhere'\n";
        fs::write(recipes.join("suites/few.toml"), format!("{head}{rows}")).unwrap();
        let place = Place { out: &recipes.join("out"), data: recipes, named: true, gpu: false };
        let read = |only: Option<&str>, listed: bool| Plan::read(recipes, only, listed, &place);
        let names = |plan: &Plan| plan.jobs.iter().map(Job::title).collect::<Vec<_>>().join(", ");
        assert_eq!(names(&read(None, false).unwrap()), "");
        assert_eq!(names(&read(Some("few"), false).unwrap()), "few/a seed 0, few/a seed 1, few/b seed 0, few/b seed 1");
        let plan = read(Some("few/b"), false).unwrap();
        assert_eq!((names(&plan).as_str(), plan.suites[0].called.as_str()), ("few/b seed 0, few/b seed 1", "few/b"));
        for (only, wrong) in [("few/c", "no row `c`: take one of a, b"), ("fw/b", "no suite `fw` in ")] {
            let error = format!("{:#}", read(Some(only), false).err().unwrap());
            assert!(error.contains(wrong), "{error}");
        }
        let why = read(Some("few/a"), false).unwrap().jobs[0].skipped.clone().unwrap();
        let folder = recipes.display();
        for part in [
            format!("cargo xtask dataset fetch omniglot --data-dir {folder} (3.3 MB)"),
            format!("the weights {}, of https://nowhere: lay them there", recipes.join("own.pth").display()),
        ] {
            assert!(why.contains(&part), "{why}");
        }

        // A damaged set stops what would train on it, and nothing that is only listed.
        fs::create_dir(recipes.join("omniglot")).unwrap();
        fs::write(recipes.join("omniglot/images_background_small1.zip"), b"PK").unwrap();
        let error = format!("{:#}", read(Some("few"), false).err().unwrap());
        assert!(error.contains("has size 2 but the manifest says"), "{error}");
        let plan = read(None, true).unwrap();
        let why = plan.jobs[0].skipped.as_deref().unwrap();
        assert!(why.contains("omniglot undamaged: ") && plan.jobs[2].skipped.is_none(), "{why}");
    }

    /// The rules of `dml train` about what would come later than the last step, for all that reproduce-paper knows. The whole
    /// recipe is for a test beside dml-train.
    #[test]
    fn with_quick_nothing_of_any_job_comes_after_the_last_step() {
        let nowhere = tempfile::tempdir().unwrap();
        let place = Place { out: nowhere.path(), data: nowhere.path(), named: false, gpu: true };
        let mut plan = Plan::read(&workspace::root().join("recipes"), None, true, &place).unwrap();
        plan.shorten(5).unwrap();
        let mut shortened = 0;
        for job in &plan.jobs {
            let Work::Train { recipe, set, .. } = &job.work else { continue };
            let recipe: toml::Table = read_recipe(recipe).unwrap();
            let number = |section: &str, key: &str| {
                let own = recipe.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_integer);
                let changed = overridden(set, &format!("{section}.{key}"));
                changed.map_or(own.unwrap_or(0), |value| value.parse().unwrap())
            };
            let title = job.title();
            assert_eq!(number("train", "steps"), 5, "{title}");
            assert!(number("train", "validate_every") <= 5, "{title}");
            assert!(number("schedule", "warmup_steps") < 5 && number("warm_up", "steps") < 5, "{title}");
            shortened += usize::from(set.iter().any(|change| change == "train.validate_every=5"));
        }
        assert!(shortened > 40, "{shortened}");
        // As they are worded there; another rule of this kind belongs to `quick`, too.
        for (rules, wanted) in [
            (include_str!("../../../crates/dml-train/src/recipe/training.rs"), "want at most train.steps"),
            (include_str!("../../../crates/dml-train/src/recipe/warm_up.rs"), "want fewer than train.steps"),
            (include_str!("../../../crates/dml-train/src/schedule.rs"), "fewer than train.steps"),
        ] {
            assert!(rules.contains(wanted), "{wanted}");
        }
    }
}
