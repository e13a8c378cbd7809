//! `dml gallery`, `dml enroll`, `dml verify`, `dml identify`: who is this, or nobody who is enrolled?

mod calibrate;
mod create;
mod destroy;
mod enroll;
mod export;
mod identify;
mod import;
mod info;
mod input;
mod pictures;
mod place;
mod remove;
mod search;
mod served;
mod texts;
mod verify;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use dml_gallery::{Calibrated, Decision, Filter, Metadata, Model};
use serde::Serialize;

pub(crate) use enroll::{Enroll, enroll};
pub(crate) use identify::{Identify, identify};
pub(crate) use place::Place;
pub(crate) use served::{RunEncoder, open as open_encoder};
pub(crate) use verify::{Verify, verify};

#[derive(Args)]
pub(crate) struct GalleryArguments {
    #[command(subcommand)]
    task: GalleryTask,
}

#[derive(Subcommand)]
enum GalleryTask {
    /// Make an empty gallery for the embeddings of one model
    Create(create::Create),
    /// Say what a gallery holds
    Info(info::Info),
    /// Choose thresholds on identities that are held out, and keep them
    Calibrate(calibrate::Calibrate),
    /// Forget identities: they are gone from the file, or the server's tables, when this returns
    Remove(remove::Remove),
    /// Choose how a gallery is searched: exactly, or by an approximate graph
    Search(search::Search),
    /// Delete a gallery with all that it holds
    Destroy(destroy::Destroy),
    /// Write all of a gallery to a new folder: safetensors, JSON lines and JSON
    Export(export::Export),
    /// Make a gallery of what `dml gallery export` wrote
    Import(import::Import),
}

pub(crate) fn gallery(arguments: &GalleryArguments) -> Result<()> {
    match &arguments.task {
        GalleryTask::Create(arguments) => create::create(arguments),
        GalleryTask::Info(arguments) => info::info(arguments),
        GalleryTask::Calibrate(arguments) => calibrate::calibrate(arguments),
        GalleryTask::Remove(arguments) => remove::remove(arguments),
        GalleryTask::Search(arguments) => search::search(arguments),
        GalleryTask::Destroy(arguments) => destroy::destroy(arguments),
        GalleryTask::Export(arguments) => export::export(arguments),
        GalleryTask::Import(arguments) => import::import(arguments),
    }
}

/// A line for machines.
fn print_json(what: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

/// KEY=VALUE pairs.
fn pairs(option: &str, given: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').with_context(|| format!("{option} {text}: want KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    given.iter().map(pair).collect()
}

fn filter(given: &[String]) -> Result<Filter> {
    Ok(pairs("--where", given)?.into_iter().fold(Filter::everybody(), |all, (key, value)| all.with(key, value)))
}

fn metadata(given: &[String]) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    for (key, value) in pairs("--metadata", given)? {
        if metadata.insert(key.clone(), value).is_some() {
            bail!("--metadata {key} is given twice: give it once");
        }
    }
    Ok(metadata)
}

/// What a model is, in words.
fn model_line(model: &Model) -> String {
    let weights = model.weights_sha256.as_deref().unwrap_or("unknown");
    format!("embeddings of length {}, compared by {}; weights {weights}", model.dim, model.metric)
}

/// What a threshold achieves, in words.
fn calibrated_line(what: &str, rate: &str, found: &str, calibrated: &Calibrated) -> String {
    let threshold = &calibrated.threshold;
    let among = threshold.gallery.map(|gallery| format!(" among {gallery} identities")).unwrap_or_default();
    format!(
        "{what}: threshold {:.4}, {rate} {:.3} % (wanted {:.3} %, {} trials){among}, {found} {:.1} % of {}",
        threshold.threshold,
        100.0 * threshold.achieved,
        100.0 * threshold.target,
        threshold.trials,
        100.0 * calibrated.found,
        calibrated.genuine
    )
}

fn decision_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Unknown => "unknown",
        Decision::NoThreshold => "undecided (no threshold: calibrate, or give --threshold)",
    }
}

/// Says each warning once.
fn warn<'a>(warnings: impl Iterator<Item = &'a String>) {
    let mut said: Vec<&String> = Vec::new();
    for warning in warnings {
        if !said.contains(&warning) {
            eprintln!("warning: {warning}");
            said.push(warning);
        }
    }
}
