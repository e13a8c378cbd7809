//! The `dml` binary: `dml train | search | evaluate | embed | gallery | enroll | verify | identify | baseline | report`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary talks to its user")]

mod allocator;
mod baseline;
mod evaluate;
mod gallery;
mod report;
mod search;
mod several;
mod train;

use clap::{Parser, Subcommand};
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
    /// Search for the values of a recipe's keys that do best on validation classes
    Search(Box<search::Search>),
    /// Measure embeddings with their labels, and write a report; or measure a run folder's encoder again
    Evaluate(Box<evaluate::Evaluate>),
    /// Write the embeddings of a run folder's test images to a safetensors file
    Embed(train::Embed),
    /// Make a gallery of identities, calibrate it, forget, export and import
    Gallery(gallery::GalleryArguments),
    /// Enrol identities, or more samples of them: nothing is trained
    Enroll(gallery::Enroll),
    /// Are these who they say? 1:1
    Verify(gallery::Verify),
    /// Who are these, if anybody who is enrolled? 1:K
    Identify(gallery::Identify),
    /// Measure what needs no training
    Baseline(baseline::Baseline),
    /// Make report.md and report.html from the run folders of `cargo xtask reproduce-paper`
    Report(report::Report),
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let outcome = match Arguments::parse().task {
        Task::Train(arguments) => train::train(&arguments),
        Task::Search(arguments) => search::search(&arguments),
        Task::Evaluate(arguments) => evaluate::evaluate(&arguments),
        Task::Embed(arguments) => train::embed(&arguments),
        Task::Gallery(arguments) => gallery::gallery(&arguments),
        Task::Enroll(arguments) => gallery::enroll(&arguments),
        Task::Verify(arguments) => gallery::verify(&arguments),
        Task::Identify(arguments) => gallery::identify(&arguments),
        Task::Baseline(arguments) => baseline::baseline(&arguments),
        Task::Report(arguments) => report::report(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref::<dml_train::Error>() {
                // As shells say of a program that Ctrl-C ended.
                Some(error) if error.is_interruption() => ExitCode::from(130),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
