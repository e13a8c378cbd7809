//! A job of a plan: one process to run, and where what it makes lies.

use std::path::PathBuf;

use serde::Serialize;

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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A training job of 10 steps of 4 images below `out`, complete or not.
    pub(crate) fn training(out: &Path, name: &str, complete: bool) -> Job {
        let work = Work::Train { recipe: "recipe.toml".into(), seed: 0, set: vec![], steps: 10, batch: 4 };
        job(out, name, work, complete)
    }

    /// A job below `out`, complete or not.
    pub(crate) fn job(out: &Path, name: &str, work: Work, complete: bool) -> Job {
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
}
