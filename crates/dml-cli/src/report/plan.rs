//! What `cargo xtask reproduce-paper` planned: `plan.json`.

use super::columns::{self, Kind};
use anyhow::{Context, Result};
use dml_eval::statistics::{ci95, mean};
use dml_train::evaluation::Evaluation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
pub(super) struct Plan {
    pub(super) suites: Vec<Suite>,
    pub(super) jobs: Vec<Job>,
}

/// One table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    pub(super) suite: String,
    pub(super) title: String,
    pub(super) table: Kind,
    /// A line below the table.
    #[serde(default)]
    pub(super) note: String,
    /// Rows of others.
    #[serde(default)]
    pub(super) published: Vec<Published>,
    /// Rows over several jobs, judged against a published figure.
    #[serde(default)]
    pub(super) comparison: Vec<Comparison>,
}

/// Figures from a paper, in percent, by column.
#[derive(Deserialize)]
pub(super) struct Published {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) figures: BTreeMap<String, f64>,
}

/// The mean of some jobs beside a published figure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Comparison {
    pub(super) name: String,
    /// The jobs.
    pub(super) of: Vec<String>,
    /// The column that is compared.
    column: String,
    /// What the paper says, percent.
    figure: f64,
    /// Which paper.
    source: String,
}

impl Comparison {
    /// A sentence: ours, theirs, and what follows. The interval is over our runs only: papers rarely give theirs.
    pub(super) fn verdict(&self, suite: &Suite, jobs: &[&Job]) -> Result<String> {
        let column = columns::of(suite.table).into_iter().find(|column| column.key == self.column);
        let column = column
            .with_context(|| format!("{}: comparison column {:?} is not in its table", suite.suite, self.column))?;
        let jobs: Vec<&&Job> = jobs.iter().filter(|job| self.of.contains(&job.name)).collect();
        if jobs.is_empty() || jobs.iter().any(|job| job.skipped.is_some()) {
            return Ok(String::new());
        }
        let runs = jobs.iter().map(|job| job.evaluation()).collect::<Result<Vec<_>>>()?;
        let values: Vec<f64> = runs.iter().filter_map(|run| Some(100.0 * column.of(run)?)).collect();
        let (ours, interval) = (mean(&values), if values.len() > 1 { ci95(&values) } else { f64::INFINITY });
        let gain = if column.lower_is_better { self.figure - ours } else { ours - self.figure };
        let verdict = match (gain.abs() <= interval, gain > 0.0) {
            (true, _) => "no difference that these runs can show".to_owned(),
            (false, true) => format!("better by {gain:.1} points"),
            (false, false) => format!("worse by {:.1} points", -gain),
        };
        Ok(format!(
            "{}: {} {ours:.1} ± {interval:.1}, {} {:.1}: {verdict}.",
            self.name, column.heading, self.source, self.figure
        ))
    }
}

/// One run.
#[derive(Deserialize)]
pub(super) struct Job {
    pub(super) suite: String,
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) skipped: Option<String>,
}

impl Job {
    pub(super) fn evaluation(&self) -> Result<Evaluation> {
        let path = self.dir.join("evaluation.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is missing: the job did not finish, run again", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: remove it and run again", path.display()))
    }
}

impl Plan {
    pub(super) fn read(runs: &Path) -> Result<Self> {
        let path = runs.join("plan.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: run cargo xtask reproduce-paper", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }
}
