//! The `dml` binary: `dml train | search | evaluate | embed | inspect | gallery | enroll | verify | identify | serve |
//! baseline | report | completions`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary talks to its user")]

mod allocator;
mod baseline;
mod embed;
mod evaluate;
mod gallery;
mod inspect;
mod report;
mod search;
mod serve;
mod several;
mod train;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "dml", version, about = "Deep metric learning: train, evaluate, embed and recognise")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Train a recipe into a run folder, or go on where it was interrupted; several seeds and folds if asked
    Train(train::Train),
    /// Search for the values of a recipe's keys that do best on validation classes or pairs
    Search(Box<search::Search>),
    /// Measure embeddings with their labels, and write a report; or measure a run folder's encoder again
    Evaluate(Box<evaluate::Evaluate>),
    /// Write a run folder's embeddings of a part of its data, or of pictures or texts of one's own, to a file
    Embed(embed::Embed),
    /// Show what a run folder, checkpoint, encoder or file of embeddings holds
    Inspect(inspect::Inspect),
    /// Make a gallery of identities, calibrate it, forget, export and import
    Gallery(gallery::GalleryArguments),
    /// Enrol identities, or more samples of them: nothing is trained
    Enroll(gallery::Enroll),
    /// Are these who they say? 1:1
    Verify(gallery::Verify),
    /// Who are these, if anybody who is enrolled? 1:K
    Identify(gallery::Identify),
    Serve(serve::Serve),
    /// Measure what needs no training
    Baseline(baseline::Baseline),
    /// Make the report.html of a run folder again; or report.md and report.html of all those of `cargo xtask reproduce-paper`
    Report(report::Report),
    /// Write the completions of a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let outcome = match Arguments::parse().task {
        Task::Train(arguments) => train::train(&arguments),
        Task::Search(arguments) => search::search(&arguments),
        Task::Evaluate(arguments) => evaluate::evaluate(&arguments),
        Task::Embed(arguments) => embed::embed(&arguments),
        Task::Inspect(arguments) => inspect::inspect(&arguments),
        Task::Gallery(arguments) => gallery::gallery(&arguments),
        Task::Enroll(arguments) => gallery::enroll(&arguments),
        Task::Verify(arguments) => gallery::verify(&arguments),
        Task::Identify(arguments) => gallery::identify(&arguments),
        Task::Serve(arguments) => serve::serve(&arguments),
        Task::Baseline(arguments) => baseline::baseline(&arguments),
        Task::Report(arguments) => report::report(&arguments),
        Task::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "dml", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let interrupted = error.downcast_ref().is_some_and(dml_train::Error::is_interruption);
            // As shells say of a program that Ctrl-C ended.
            if interrupted || error.is::<embed::Stopped>() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}
