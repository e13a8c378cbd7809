//! Files of `recipes/suites/`: which recipes and seeds make which table.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace;

/// A file of `recipes/suites/`.
#[derive(Deserialize)]
pub(super) struct Suite {
    /// Heading in the report.
    pub(super) title: String,
    /// Only run when asked for by name: too long for the default run.
    #[serde(default)]
    pub(super) on_request: bool,
    /// What a run of it takes, in words, for `--list`.
    #[serde(default)]
    pub(super) cost: String,
    /// Trained runs.
    #[serde(default)]
    pub(super) job: Vec<SuiteJob>,
    /// Rows that need no training.
    #[serde(default)]
    pub(super) baseline: Vec<SuiteBaseline>,
    /// Columns of its table, and figures to set beside ours: for `dml report` to read and check.
    #[serde(flatten)]
    pub(super) table: toml::Table,
}

/// A recipe, trained once for each seed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuiteJob {
    /// Name of its row and folder.
    pub(super) name: String,
    /// Recipe file, relative to `recipes/`.
    pub(super) recipe: PathBuf,
    /// One run each.
    pub(super) seeds: Vec<u64>,
    /// Class folds of each seed, as `data.folds`: a run for each, and one model of them all.
    pub(super) folds: Option<u64>,
    /// Changes to the recipe, `key=value`.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// Data set that must have been fetched.
    pub(super) needs: Option<String>,
    /// Whether it would take days without a GPU.
    #[serde(default)]
    pub(super) gpu: bool,
    /// Whether it begins with weights from the hub.
    #[serde(default)]
    pub(super) weights: bool,
    /// A file of weights that is on no hub: it must lie in the data folder, and the recipe then begins with it.
    pub(super) file: Option<String>,
}

/// A measurement without training: `dml baseline NAME`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuiteBaseline {
    /// What `dml baseline` calls it.
    pub(super) name: String,
    /// Data set that must have been fetched.
    pub(super) needs: Option<String>,
}

/// The part of a recipe that says how much work it is. The rest is for `dml` to read and check.
#[derive(Deserialize)]
pub(super) struct RecipeSize {
    pub(super) train: TrainSize,
    pub(super) sampler: SamplerSize,
}

#[derive(Deserialize)]
pub(super) struct TrainSize {
    pub(super) steps: u64,
}

#[derive(Deserialize)]
pub(super) struct SamplerSize {
    pub(super) classes: u64,
    pub(super) per_class: u64,
}

pub(super) fn suite_files(dir: &Path, only: Option<&str>) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files = vec![];
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let Some(only) = only else { return Ok(files) };
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match files.iter().find(|path| stem(path) == only) {
        Some(path) => Ok(vec![path.clone()]),
        None => {
            let names: Vec<String> = files.iter().map(|path| stem(path)).collect();
            bail!("no suite `{only}` in {}: it has {}", workspace::shown(dir), names.join(", "))
        }
    }
}

pub(super) fn recipe_size(recipe: &Path) -> Result<RecipeSize> {
    Ok(toml::from_str(&fs::read_to_string(recipe)?)?)
}

/// The last `train.steps=N` among the changes to a recipe.
pub(super) fn overridden_steps(set: &[String]) -> Result<Option<u64>> {
    let last = set.iter().rev().find_map(|change| change.strip_prefix("train.steps="));
    last.map(|steps| steps.trim().parse().with_context(|| format!("train.steps={steps}"))).transpose()
}
