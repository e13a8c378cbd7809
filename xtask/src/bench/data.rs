//! `cargo xtask bench data`.

use std::fmt::Write;

use super::peers::Needs;
use super::record::Record;
use super::table::{conditions, digits, megabytes, ratio, seconds};
use super::versus::{Contest, Measured};

pub(super) const CONTEST: Contest = Contest {
    name: "data",
    folder: "bench-data",
    program: "time_data",
    ours: "ours",
    script: "time_data_peers.py",
    peer: "peers",
    needs: Needs::Images,
    // They take minutes, and repeat themselves where they are short.
    rounds: 1,
    anew: true,
    chosen_by: |case| &case.title,
    markdown,
    summary: markdown,
};

fn markdown(record: &Record, rows: &[Measured]) -> String {
    let mut text = conditions("", record);
    text.push_str(
        "Batches are tensors of f32 in memory, normalised. Floor: the decoder, of whole files, and the resizer alone, on as \
         many threads; read by libjpeg-turbo, of what the crops take; of small images, the writing of their values. The peer's plan is made without batches. Peaks are of the main process \
         beyond what it held: the peer's workers are processes of their own.\n\n",
    );
    text.push_str(
        "| work | images | ours, s | images/s | peer, s | times as fast | floor, s | times the floor | peak | peak of the peer |\n",
    );
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let peer = ["torchvision", "pml"].into_iter().find(|peer| row.seconds.contains_key(*peer)).unwrap_or("");
        let time = |contestant: &str| seconds(row, contestant).map_or_else(|| "–".to_owned(), digits);
        let rate = seconds(row, "ours").map_or_else(String::new, |s| format!("{:.0}", row.case.n as f64 / s));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {rate} | {}{} | {} | {} | {} | {} | {} |",
            row.case.title,
            row.case.n,
            time("ours"),
            time(peer),
            if peer.is_empty() { String::new() } else { format!(" ({peer})") },
            ratio(row, peer, "ours"),
            time("floor"),
            ratio(row, "ours", "floor"),
            megabytes(row, "ours"),
            megabytes(row, peer)
        );
    }
    for row in rows {
        if let Some(made) = seconds(row, "sampler made") {
            let _ = writeln!(text, "\n– {}: the sampler itself is made in {} s.", row.case.title, digits(made));
        }
        for why in row.skipped.values() {
            let _ = writeln!(text, "\n– {}: {why}", row.case.title);
        }
    }
    text
}
