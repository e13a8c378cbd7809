//! Ours beside published figures, and what follows.

use super::columns;
use super::plan::{Job, Models, Suite, that_ran};
use anyhow::{Context, Result};
use dml_eval::report::Table;
use dml_eval::statistics::{ci95, mean};
use dml_train::figures::Figure;
use serde::Deserialize;

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
    /// Which of the models of folds, of jobs that have folds. Default: each by itself.
    #[serde(default)]
    pub(super) models: Models,
}

const NOTE: &str = "Within: the published figure lies in the 95 % confidence interval of the mean of our runs, which says nothing of \
                    theirs, for papers rarely give it. Shortened: less than the published protocol, so that a difference was to be \
                    expected.";

/// All comparisons of a suite whose jobs have run; `None`: there are none.
pub(super) fn table(suite: &Suite, jobs: &[&Job]) -> Result<Option<Table>> {
    let rows = suite.comparison.iter().map(|comparison| comparison.row(suite, jobs));
    let rows: Vec<Vec<String>> = rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    Ok((!rows.is_empty()).then(|| Table {
        title: format!("{}: beside published figures", suite.title),
        columns: ["what", "ours", "published", "difference", "verdict"].map(str::to_owned).to_vec(),
        rows,
        note: NOTE.to_owned(),
    }))
}

impl Comparison {
    /// `None`: a job was skipped.
    fn row(&self, suite: &Suite, jobs: &[&Job]) -> Result<Option<Vec<String>>> {
        let column = columns::of(suite.table).into_iter().find(|column| column.key == self.column);
        let column = column
            .with_context(|| format!("{}: comparison column {:?} is not in its table", suite.suite, self.column))?;
        let jobs: Vec<&Job> = jobs.iter().copied().filter(|job| self.of.contains(&job.name)).collect();
        let Some(jobs) = that_ran(&jobs).ok().filter(|jobs| !jobs.is_empty()) else { return Ok(None) };
        let runs = jobs.iter().map(|job| job.achieved(self.models)).collect::<Result<Vec<_>>>()?;
        let values: Vec<f64> = runs.iter().filter_map(|run| Some(100.0 * run.figure(column)?)).collect();
        let shortened = jobs.iter().find_map(|job| job.shortened.as_deref());
        let published = format!("{:.1}, {}", self.figure, self.source);
        let [ours, difference, verdict] = self.judged(column, &values, shortened);
        Ok(Some(vec![self.name.clone(), ours, published, difference, verdict]))
    }

    /// The mean, how far it is from the published figure, and the verdict.
    fn judged(&self, column: &Figure, values: &[f64], shortened: Option<&str>) -> [String; 3] {
        let heading = column.heading;
        if values.is_empty() {
            return [format!("{heading} –"), "–".to_owned(), "not measured".to_owned()];
        }
        let ours = mean(values);
        let gain = if column.lower_is_better { self.figure - ours } else { ours - self.figure };
        let difference = format!("{} by {:.1}", if gain < 0.0 { "worse" } else { "better" }, gain.abs());
        let interval = (values.len() > 1).then(|| ci95(values));
        let shown = match interval {
            None => format!("{heading} {ours:.1} (1 seed)"),
            Some(interval) => format!("{heading} {ours:.1} ± {interval:.1} ({} seeds)", values.len()),
        };
        let verdict = match (shortened, interval) {
            (Some(why), _) => format!("shortened: {why}"),
            (None, None) => "1 seed has no interval".to_owned(),
            (None, Some(interval)) if gain.abs() <= interval => "within".to_owned(),
            (None, Some(_)) => "outside".to_owned(),
        };
        [shown, difference, verdict]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Four jobs of one seed on folds, which achieve so much R@1, and together 5 points more; the last is shortened.
    const ACHIEVED: [f64; 4] = [0.69, 0.70, 0.71, 0.50];

    fn rows(comparisons: &Value) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let jobs = ["a", "b", "c", "short"].map(|name| {
            let dir = folder.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            let shortened = (name == "short").then_some("600 episodes");
            serde_json::from_value::<Job>(
                json!({"suite": "s", "name": name, "dir": dir, "folds": 4, "shortened": shortened}),
            )
            .unwrap()
        });
        for (job, share) in jobs.iter().zip(ACHIEVED) {
            let rows = [("separated", share), ("concatenated", share + 0.05)].map(|(name, share)| {
                let figure = json!({"key": "recall_at_1", "mean": share, "ci95": null, "values": [share]});
                json!({"name": name, "figures": [figure]})
            });
            let summary = json!({"name": "a", "seeds": [0], "folds": 4, "weights": "last", "rows": rows});
            std::fs::write(job.dir.join("summary.json"), summary.to_string()).unwrap();
        }
        let suite = json!({"suite": "s", "title": "t", "table": "retrieval", "comparison": comparisons});
        let suite: Suite = serde_json::from_value(suite).unwrap();
        let jobs: Vec<&Job> = jobs.iter().collect();
        table(&suite, &jobs).unwrap().map(|table| table.rows).unwrap_or_default()
    }

    #[test]
    fn a_verdict_goes_by_the_interval_of_our_runs() {
        let of = |jobs: &[&str], figure: f64| json!({"name": "n", "of": jobs, "column": "recall_at_1", "figure": figure, "source": "p"});
        let all = ["a", "b", "c"];
        // 4.303 · 1 / √3 points.
        let found = rows(&json!([
            of(&all, 72.4),
            of(&all, 67.0),
            of(&all, 73.0),
            of(&["a"], 69.5),
            of(&["short"], 69.5),
            of(&["nobody"], 69.5)
        ]));
        let wanted = [
            ["R@1 70.0 ± 2.5 (3 seeds)", "72.4, p", "worse by 2.4", "within"],
            ["R@1 70.0 ± 2.5 (3 seeds)", "67.0, p", "better by 3.0", "outside"],
            ["R@1 70.0 ± 2.5 (3 seeds)", "73.0, p", "worse by 3.0", "outside"],
            ["R@1 69.0 (1 seed)", "69.5, p", "worse by 0.5", "1 seed has no interval"],
            ["R@1 50.0 (1 seed)", "69.5, p", "worse by 19.5", "shortened: 600 episodes"],
        ];
        assert_eq!(
            found.iter().map(|row| &row[1..]).collect::<Vec<_>>(),
            wanted.iter().map(|row| &row[..]).collect::<Vec<_>>()
        );
        assert!(rows(&json!([])).is_empty());
        let mut joined = of(&["a"], 69.5);
        joined["models"] = "concatenated".into();
        assert_eq!(rows(&json!([joined]))[0][1], "R@1 74.0 (1 seed)");
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let eer = json!([{"name": "n", "of": ["a"], "column": "eer", "figure": 9.0, "source": "p"}]);
        assert_eq!(rows(&eer)[0][1..], ["EER –", "9.0, p", "–", "not measured"]);
    }
}
