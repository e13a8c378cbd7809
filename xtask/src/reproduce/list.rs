//! `cargo xtask reproduce-paper --list`: what there is to reproduce, and what it needs.
#![allow(clippy::print_stdout, reason = "a binary talks to its user")]

use std::collections::BTreeSet;

use anyhow::Result;

use super::job::{Job, Work};
use super::plan::Plan;

/// Prints every suite with its jobs, and the published figures they are compared with.
pub(super) fn print(plan: &Plan) -> Result<()> {
    for suite in plan.suites() {
        println!("{}: {}", suite.suite, suite.title);
        if !suite.cost.is_empty() {
            println!("    cost       {}", suite.cost);
        }
        let mut seen = BTreeSet::new();
        for job in plan.jobs_of(&suite.suite).filter(|job| seen.insert(job.name.clone())) {
            let seeds = plan.jobs_of(&suite.suite).filter(|other| other.name == job.name).count();
            println!("    {:<28} {}", job.name, state(job, seeds));
        }
        let rows = |kind: &str| suite.table.get(kind).and_then(toml::Value::as_array).into_iter().flatten();
        for comparison in rows("comparison") {
            let text = |key: &str| comparison.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            let figure = comparison.get("figure").map(ToString::to_string).unwrap_or_default();
            println!("    published  {}: {} {figure} ({})", text("name"), text("column"), text("source"));
        }
        for published in rows("published").filter_map(toml::Value::as_table) {
            println!("    published  {}", row(published));
        }
        println!("    run        cargo xtask reproduce-paper {}\n", suite.called);
    }
    Ok(())
}

/// A row of figures that a paper reports.
fn row(published: &toml::Table) -> String {
    let name = published.get("name").and_then(toml::Value::as_str).unwrap_or_default();
    let figures = published.iter().filter(|(column, _)| *column != "name");
    let figures: Vec<String> = figures.map(|(column, figure)| format!("{column} {figure}")).collect();
    format!("{name}: {}", figures.join(", "))
}

/// How much a job is, and whether it can run here.
fn state(job: &Job, seeds: usize) -> String {
    let size = match &job.work {
        Work::Train { steps, batch, .. } => match job.folds {
            None => format!("{seeds} seeds x {steps} steps of {batch}"),
            Some(folds) => format!("{seeds} seeds x {folds} folds x {} steps of {batch}", steps / folds),
        },
        Work::Baseline => "no training".to_owned(),
    };
    let weights = if job.weights.is_some() { ", weights from the hub" } else { "" };
    let shortened = job.shortened.as_ref().map_or_else(String::new, |why| format!(", shortened: {why}"));
    match &job.skipped {
        None => format!("{size}{weights}{shortened}: ready"),
        Some(lacks) => format!("{size}{weights}{shortened}: needs {lacks}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::training;
    use super::*;

    #[test]
    fn figures_and_jobs_are_a_line_each() {
        let published: toml::Table =
            toml::from_str("name = 'People (from memory)'\nerror = 4.5\nrecall = 90.0\n").unwrap();
        assert_eq!(row(&published), "People (from memory): error 4.5, recall 90.0");
        let out = tempfile::tempdir().unwrap();
        let job = Job { shortened: Some("less".into()), ..training(out.path(), "a", false) };
        assert_eq!(state(&job, 3), "3 seeds x 10 steps of 4, shortened: less: ready");
        let job = Job { skipped: Some("a GPU".into()), folds: Some(2), ..training(out.path(), "b", false) };
        assert_eq!(state(&job, 1), "1 seeds x 2 folds x 5 steps of 4: needs a GPU");
    }
}
