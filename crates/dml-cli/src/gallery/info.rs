//! `dml gallery info`.

use super::{calibrated_line, filter, model_line, place::Place, print_json, warn};
use anyhow::Result;
use clap::Args;
use dml_gallery::{Calibration, Count, Identity, Model, Templates};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Info {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// Name the identities, too
    #[arg(long)]
    list: bool,
    /// Only identities whose metadata says so; the same key again: or so
    #[arg(long = "where", value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Held<'a> {
    model: &'a Model,
    templates: Templates,
    count: Count,
    calibration: Option<Calibration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identities: Option<Vec<Identity>>,
}

pub(super) fn info(arguments: &Info) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    let filter = filter(&arguments.filter)?;
    let identities = arguments.list.then(|| gallery.list(&filter)).transpose()?;
    let (count, calibration) = (gallery.count(&filter)?, gallery.calibration()?);
    let held = Held { model: gallery.model(), templates: gallery.templates(), count, calibration, identities };
    if arguments.json {
        return print_json(&held);
    }
    println!("{} identities with {} samples; {}", count.identities, count.samples, model_line(held.model));
    match &held.calibration {
        Some(calibration) => say(calibration),
        None => println!("not calibrated: dml gallery calibrate chooses thresholds"),
    }
    for who in held.identities.iter().flatten() {
        let known: Vec<String> = who.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        println!("{}\t{} samples\t{}", who.name, who.samples.len(), known.join(" "));
    }
    Ok(())
}

/// What a calibration achieves.
pub(super) fn say(calibration: &Calibration) {
    let Calibration { verification, identification } = calibration;
    println!("{}", calibrated_line("verification", "FMR", "true matches", verification));
    println!("{}", calibrated_line("identification", "FPIR", "TPIR", identification));
    let said = [verification, identification].map(|calibrated| calibrated.threshold.warning());
    warn(said.iter().flatten());
}
