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
    /// What it does less of than the published protocol, which its figures are then not held to.
    pub(super) shortened: Option<String>,
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

/// The part of a recipe that says how much work it is and what it begins with. The rest is for `dml` to read and check.
#[derive(Deserialize)]
pub(super) struct RecipeNeeds {
    pub(super) train: TrainSize,
    pub(super) sampler: SamplerSize,
    #[serde(default)]
    pub(super) model: Model,
}

#[derive(Deserialize, Default)]
pub(super) struct Model {
    pub(super) weights: Option<String>,
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

pub(super) fn recipe_needs(recipe: &Path) -> Result<RecipeNeeds> {
    Ok(toml::from_str(&fs::read_to_string(recipe)?)?)
}

/// What the last of the changes to a recipe makes of `key`.
pub(super) fn overridden<'a>(set: &'a [String], key: &str) -> Option<&'a str> {
    set.iter().rev().find_map(|change| change.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
}

/// The command of the hub's own client that brings `weights` into the cache that `dml` reads, where they lie on the hub.
pub(super) fn hub_command(weights: &str) -> Option<String> {
    let mut parts = weights.strip_prefix("hf://")?.splitn(3, '/');
    let (owner, name, file) = (parts.next()?, parts.next()?, parts.next());
    let (name, revision) = name.split_once('@').map_or((name, None), |(name, revision)| (name, Some(revision)));
    let file = file.map_or(String::new(), |file| format!(" {file}"));
    let revision = revision.map_or(String::new(), |revision| format!(" --revision {revision}"));
    Some(format!("hf download {owner}/{name}{file}{revision}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_hub_is_a_command_of_its_client() {
        for (weights, command) in [
            ("hf://timm/vit/model.safetensors", Some("hf download timm/vit model.safetensors")),
            ("hf://timm/vit@c0ffee/a/b.bin", Some("hf download timm/vit a/b.bin --revision c0ffee")),
            ("hf://owner/sentences", Some("hf download owner/sentences")),
            ("hf://owner/sentences@v2", Some("hf download owner/sentences --revision v2")),
            ("weights.pth", None),
        ] {
            assert_eq!(hub_command(weights).as_deref(), command, "{weights}");
        }
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        let set = ["train.steps=3", "train.steps_more=7", "train.steps= 5", "name=x"].map(str::to_owned);
        assert_eq!(
            (overridden(&set, "train.steps"), overridden(&set, "train"), overridden(&set, "name")),
            (Some("5"), None, Some("x"))
        );
    }
}
