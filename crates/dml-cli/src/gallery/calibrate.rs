//! `dml gallery calibrate`.

use super::{info::say, input::Input, place::Place, print_json};
use anyhow::{Context, Result, bail};
use clap::Args;
use dml_eval::input::Categories;
use dml_gallery::{CalibrationOptions, Filter};
use std::collections::HashSet;

#[derive(Args)]
pub(crate) struct Calibrate {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    #[command(flatten)]
    input: Input,
    /// False match rate wanted of verification
    #[arg(long, default_value_t = CalibrationOptions::default().fmr)]
    fmr: f64,
    /// False positive identification rate wanted of identification
    #[arg(long, default_value_t = CalibrationOptions::default().fpir)]
    fpir: f64,
    /// Samples enrolled of each identity
    #[arg(long, default_value_t = CalibrationOptions::default().shots)]
    shots: usize,
    /// Identities enrolled of those given, and the gallery that FPIR is for [default: FPIR of this gallery, unless it is empty]
    #[arg(long)]
    enrolled: Option<usize>,
    /// Random draws of who is enrolled and who is a stranger
    #[arg(long, default_value_t = CalibrationOptions::default().draws)]
    draws: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn calibrate(arguments: &Calibrate) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    let rows = arguments.input.rows(gallery.model())?;
    let labels =
        Categories::new(rows.known_labels("dml gallery calibrate")?).context("more than 2^32 - 1 identities")?;
    let enrolled: HashSet<String> = gallery.list(&Filter::everybody())?.into_iter().map(|who| who.name).collect();
    if let Some(both) = labels.names.iter().find(|name| enrolled.contains(*name)) {
        bail!("{both:?} is enrolled: calibrate on identities that are not, or the threshold looks better than it is");
    }
    let &Calibrate { fmr, fpir, shots, enrolled, draws, seed, .. } = arguments;
    let options = CalibrationOptions { fmr, fpir, shots, enrolled, draws, seed };
    let calibration = gallery.calibrate(rows.embeddings()?, &labels.ids, &options)?;
    match arguments.json {
        true => print_json(&calibration),
        false => {
            say(&calibration);
            Ok(())
        }
    }
}
