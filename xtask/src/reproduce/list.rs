//! `cargo xtask reproduce-paper --list`: what there is to reproduce, and what it needs.
#![allow(clippy::print_stdout, reason = "a binary talks to its user")]

use std::collections::BTreeSet;

use anyhow::Result;

use super::plan::{Job, Plan, Work};

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
        let comparisons = suite.table.get("comparison").and_then(toml::Value::as_array);
        for comparison in comparisons.into_iter().flatten() {
            let text = |key: &str| comparison.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            let figure = comparison.get("figure").map(ToString::to_string).unwrap_or_default();
            println!("    published  {}: {} {figure} ({})", text("name"), text("column"), text("source"));
        }
        println!("    run        cargo xtask reproduce-paper {}\n", suite.suite);
    }
    Ok(())
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
    match &job.skipped {
        None => format!("{size}{weights}: ready"),
        Some(lacks) => format!("{size}{weights}: needs {lacks}"),
    }
}
