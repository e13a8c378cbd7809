//! Tasks of the workspace: `cargo xtask TASK`. Each task is one module; none links candle, the heavy work runs as processes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary talks to its user")]

mod bench;
mod dataset;
mod reproduce;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the workspace", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch, verify or list data sets
    Dataset(dataset::Arguments),
    /// Train and measure everything in recipes/suites, and print the table beside the published figures
    ReproducePaper(reproduce::Arguments),
    /// Time losses, evaluation, galleries, data, training and fine-tuning, with --peers beside others
    Bench(bench::Arguments),
    /// Check the rules of ARCHITECTURE.md that a compiler cannot see (also run by `cargo test -p xtask`)
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Dataset(arguments) => dataset::run(arguments),
        Task::ReproducePaper(arguments) => reproduce::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
