//! `dml verify`.

use super::{decision_word, input::Input, place::Place, print_json, warn};
use anyhow::Result;
use clap::Args;
use dml_gallery::Verification;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Verify {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    #[command(flatten)]
    input: Input,
    /// Whom all claim to be [default: who their labels, or folders, say]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Threshold, as scores are reported [default: the calibrated one]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Print JSON, a line for each probe
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    probe: &'a str,
    #[serde(flatten)]
    answer: &'a Verification,
}

pub(crate) fn verify(arguments: &Verify) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    let rows = arguments.input.rows(gallery.model())?;
    let names: Vec<&str> = match &arguments.name {
        Some(name) => vec![name; rows.ids.len()],
        None => rows.known_labels("dml verify")?.iter().map(String::as_str).collect(),
    };
    let answers = gallery.verify(rows.embeddings()?, &names, arguments.threshold)?;
    for (probe, answer) in rows.ids.iter().zip(&answers) {
        if arguments.json {
            print_json(&Line { probe, answer })?;
            continue;
        }
        let threshold = answer.threshold.map(|t| format!(", threshold {t:.4}")).unwrap_or_default();
        let sure = answer.probability.map(|p| format!(", {:.1} %", 100.0 * p)).unwrap_or_default();
        println!(
            "{probe}: {} as {} (score {:.4}{threshold}{sure})",
            decision_word(answer.decision),
            answer.name,
            answer.score
        );
    }
    warn(answers.iter().flat_map(|answer| &answer.warnings));
    Ok(())
}
