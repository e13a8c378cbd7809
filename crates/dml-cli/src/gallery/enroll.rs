//! `dml enroll`.

use super::{input::Input, metadata, place::Place, print_json, search};
use anyhow::Result;
use clap::Args;
use dml_core::Matrix;
use dml_gallery::{Change, Embeddings, Filter};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

#[derive(Args)]
pub(crate) struct Enroll {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    #[command(flatten)]
    input: Input,
    /// All are samples of this one identity
    #[arg(long, value_name = "NAME", conflicts_with = "labels")]
    name: Option<String>,
    /// What is known of the identities that are new
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Enrolled {
    new_identities: usize,
    known_identities: usize,
    samples: usize,
}

/// All of the rows or none: who is new is enrolled, who is known gets more samples.
pub(crate) fn enroll(arguments: &Enroll) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    let metadata = metadata(&arguments.metadata)?;
    let rows = arguments.input.rows(gallery.model())?;
    let (embeddings, d) = (rows.embeddings()?, rows.model.dim);
    let mut own: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    match &arguments.name {
        Some(name) => drop(own.insert(name, embeddings.values.data().to_vec())),
        None => {
            for (row, name) in rows.known_labels("dml enroll")?.iter().enumerate() {
                own.entry(name).or_default().extend_from_slice(embeddings.values.row(row));
            }
        }
    }
    let known: HashSet<String> = gallery.list(&Filter::everybody())?.into_iter().map(|who| who.name).collect();
    let mut changes = Vec::with_capacity(own.len());
    for (&name, values) in &own {
        let embeddings = Embeddings::new(&rows.model, Matrix::new(values, values.len() / d, d)?);
        changes.push(match known.contains(name) {
            true => Change::AddSamples { name, embeddings },
            false => Change::Enrol { name, embeddings, metadata: metadata.clone() },
        });
    }
    let samples = gallery.apply(&changes)?.iter().map(Vec::len).sum();
    let known_identities = own.keys().filter(|&&name| known.contains(name)).count();
    let enrolled = Enrolled { new_identities: own.len() - known_identities, known_identities, samples };
    let Enrolled { new_identities, known_identities, samples } = enrolled;
    match arguments.json {
        true => print_json(&enrolled)?,
        false => println!(
            "{samples} samples of {new_identities} new and {known_identities} known identities: {}",
            arguments.gallery
        ),
    }
    search::refresh(gallery.as_ref());
    Ok(())
}
