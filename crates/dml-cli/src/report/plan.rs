//! What `cargo xtask reproduce-paper` planned: `plan.json`.

use super::columns::Kind;
use super::comparison::Comparison;
use anyhow::{Context, Result};
use dml_train::evaluation::Evaluation;
use dml_train::figures::Figure;
use dml_train::runs::{Row, Summary};
use serde::Deserialize;
use serde::de::DeserializeOwned;
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
    /// Figures of papers, to set beside the mean of some jobs; of several jobs also a row.
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

/// Which models of a job's class folds are meant; a job without folds has one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Models {
    /// Each by itself: the mean of their figures.
    #[default]
    Separated,
    /// All as one: their embeddings joined.
    Concatenated,
}

impl Models {
    /// How the row of a summary begins that is of them.
    fn of_row(self) -> &'static str {
        match self {
            Self::Separated => "separated",
            Self::Concatenated => "concatenated",
        }
    }
}

/// One run.
#[derive(Deserialize)]
pub(super) struct Job {
    pub(super) suite: String,
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) skipped: Option<String>,
    /// Class folds that it was trained on.
    pub(super) folds: Option<u64>,
    /// What it does less of than the published protocol.
    pub(super) shortened: Option<String>,
}

impl Job {
    pub(super) fn evaluation(&self) -> Result<Evaluation> {
        self.read("evaluation.json")
    }

    /// What it has achieved, by those of its models that are asked for.
    pub(super) fn achieved(&self, models: Models) -> Result<Achieved> {
        if self.folds.is_none() {
            return Ok(Achieved::Run(Box::new(self.evaluation()?)));
        }
        let summary: Summary = self.read("summary.json")?;
        let row = summary.rows.into_iter().find(|row| row.name.starts_with(models.of_row()));
        let row = row.with_context(|| {
            format!("{}/summary.json has no row {:?}: remove it and run again", self.dir.display(), models.of_row())
        })?;
        Ok(Achieved::Folds(row))
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let path = self.dir.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is missing: the job did not finish, run again", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: remove it and run again", path.display()))
    }
}

/// Those of `jobs` that ran: of the seeds of a recipe some may have been skipped.
///
/// # Errors
/// Why, when of a recipe none ran.
pub(super) fn that_ran<'a>(jobs: &[&'a Job]) -> Result<Vec<&'a Job>, String> {
    let ran: Vec<&Job> = jobs.iter().copied().filter(|job| job.skipped.is_none()).collect();
    match jobs.iter().find(|job| !ran.iter().any(|other| other.name == job.name)) {
        Some(job) => Err(job.skipped.clone().unwrap_or_default()),
        None => Ok(ran),
    }
}

/// What a job has achieved.
pub(super) enum Achieved {
    Run(Box<Evaluation>),
    Folds(Row),
}

impl Achieved {
    /// The figure as a share, if it was measured.
    pub(super) fn figure(&self, figure: &Figure) -> Option<f64> {
        match self {
            Self::Run(run) => figure.of(run),
            Self::Folds(row) => row.figure(figure.key).map(|found| found.mean),
        }
    }

    /// What of the job it is, where there are several things.
    pub(super) fn models(&self) -> Option<&str> {
        match self {
            Self::Run(_) => None,
            Self::Folds(row) => Some(&row.name),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_recipe_is_skipped_when_none_of_its_seeds_ran() {
        let job = |name: &str, skipped: Option<&str>| -> Job {
            serde_json::from_value(json!({"suite": "s", "name": name, "dir": "", "skipped": skipped})).unwrap()
        };
        let jobs = [job("a", Some("no weights")), job("a", None), job("b", Some("no data"))];
        assert_eq!(that_ran(&[&jobs[0], &jobs[1]]).unwrap().len(), 1);
        assert_eq!(that_ran(&[&jobs[0], &jobs[1], &jobs[2]]).err().as_deref(), Some("no data"));
        assert!(that_ran(&[]).unwrap().is_empty());
    }

    #[test]
    fn of_folds_a_job_has_two_results() {
        let folder = tempfile::tempdir().unwrap();
        let row = |name: &str, share: f64| json!({"name": name, "figures": [{"key": "map_at_r", "mean": share, "ci95": null, "values": [share]}]});
        let rows = [row("separated 128-dim", 0.21), row("concatenated 512-dim", 0.26)];
        let summary = json!({"name": "a", "seeds": [0], "folds": 4, "weights": "last", "rows": rows});
        std::fs::write(folder.path().join("summary.json"), summary.to_string()).unwrap();
        let job: Job =
            serde_json::from_value(json!({"suite": "s", "name": "a", "dir": folder.path(), "folds": 4})).unwrap();
        let map = Figure::find("map_at_r").unwrap();
        for (models, name, share) in
            [(Models::Separated, "separated 128-dim", 0.21), (Models::Concatenated, "concatenated 512-dim", 0.26)]
        {
            let achieved = job.achieved(models).unwrap();
            assert_eq!((achieved.models(), achieved.figure(map)), (Some(name), Some(share)));
            assert_eq!(achieved.figure(Figure::find("eer").unwrap()), None);
        }
    }
}
