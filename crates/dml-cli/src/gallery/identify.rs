//! `dml identify`.

use super::{decision_word, filter, input::Input, place::Place, print_json, warn};
use anyhow::Result;
use clap::Args;
use dml_gallery::{Decision, Identification, IdentifyOptions};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Identify {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    #[command(flatten)]
    input: Input,
    /// Candidates wanted
    #[arg(short, long, default_value_t = 5)]
    k: usize,
    /// Threshold, as scores are reported [default: the calibrated one]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Only identities whose metadata says so; the same key again: or so
    #[arg(long = "where", value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print JSON, a line for each probe
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    probe: &'a str,
    #[serde(flatten)]
    answer: &'a Identification,
}

pub(crate) fn identify(arguments: &Identify) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    let filter = filter(&arguments.filter)?;
    let options = IdentifyOptions { k: arguments.k, threshold: arguments.threshold, filter };
    let rows = arguments.input.rows(gallery.model())?;
    let answers = gallery.identify(rows.embeddings()?, &options)?;
    for (probe, answer) in rows.ids.iter().zip(&answers) {
        if arguments.json {
            print_json(&Line { probe, answer })?;
            continue;
        }
        let who = match (answer.decision, answer.candidates.first()) {
            (Decision::Accepted, Some(best)) => best.name.clone(),
            _ => decision_word(answer.decision).to_owned(),
        };
        let threshold = answer.threshold.map(|t| format!(", threshold {t:.4}")).unwrap_or_default();
        let sure = answer.probability.map(|p| format!(", {:.1} %", 100.0 * p)).unwrap_or_default();
        let candidates: Vec<String> = answer.candidates.iter().map(|c| format!("{} {:.4}", c.name, c.score)).collect();
        println!("{probe}: {who} ({}{threshold}{sure})", candidates.join(", "));
    }
    warn(answers.iter().flat_map(|answer| &answer.warnings));
    Ok(())
}
