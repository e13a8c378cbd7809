//! Files of `recipes/suites/`: which recipes and seeds make which table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    /// Where the files of weights come from that are on no hub, in words, for those who lack them.
    #[serde(default)]
    pub(super) weights_from: String,
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

impl Suite {
    /// Names of its rows. Each is also a folder.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.baseline.iter().map(|row| row.name.as_str()).chain(self.job.iter().map(|row| row.name.as_str()))
    }

    /// Refuses rows that have no folder of their own.
    pub(super) fn check_names(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for name in self.names() {
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
            if !plain || name.starts_with('.') {
                bail!("`{name}` cannot name a folder: use letters, digits and - _ . +");
            }
            if !names.insert(name) {
                bail!("two jobs are named `{name}`: their runs would share a folder");
            }
        }
        Ok(())
    }

    /// Leaves it the row `row`, and comparisons of this row alone.
    pub(super) fn keep(&mut self, row: &str) -> Result<()> {
        if !self.names().any(|name| name == row) {
            bail!("it has no row `{row}`: take one of {}", self.names().collect::<Vec<_>>().join(", "));
        }
        self.baseline.retain(|baseline| baseline.name == row);
        self.job.retain(|job| job.name == row);
        if let Some(toml::Value::Array(comparisons)) = self.table.get_mut("comparison") {
            comparisons.retain(|comparison| {
                let of = comparison.get("of").and_then(toml::Value::as_array);
                of.is_some_and(|of| of.iter().all(|name| name.as_str() == Some(row)))
            });
        }
        Ok(())
    }
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

/// A recipe: what there is of it, as a table, or what is wanted of it, as [`RecipeNeeds`].
pub(super) fn read_recipe<T: DeserializeOwned>(recipe: &Path) -> Result<T> {
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
    fn of_a_suite_one_row_may_be_kept() {
        let rows = "[[baseline]]\nname = 'pixels'\n[[job]]\nname = 'a'\nrecipe = 'r'\nseeds = [0]\n[[job]]\nname = 'b'\nrecipe = 'r'\nseeds = [0]\n";
        let comparisons =
            "[[comparison]]\nname = 'of a'\nof = ['a']\n[[comparison]]\nname = 'of both'\nof = ['a', 'b']\n";
        let suite = || toml::from_str::<Suite>(&format!("title = 't'\n{rows}{comparisons}")).unwrap();
        for (row, comparisons) in [("a", 1), ("b", 0), ("pixels", 0)] {
            let mut suite = suite();
            suite.check_names().unwrap();
            suite.keep(row).unwrap();
            assert_eq!(suite.names().collect::<Vec<_>>(), [row]);
            assert_eq!(suite.table["comparison"].as_array().unwrap().len(), comparisons, "{row}");
        }
        let error = suite().keep("c").unwrap_err().to_string();
        assert_eq!(error, "it has no row `c`: take one of pixels, a, b");
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
