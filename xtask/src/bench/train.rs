//! `cargo xtask bench train`.

use std::fmt::Write;

use super::peers::Needs;
use super::record::Record;
use super::table::{conditions, digits, megabytes, ratio, seconds};
use super::versus::{Contest, Measured};

pub(super) const CONTEST: Contest = Contest {
    name: "train",
    folder: "bench-train",
    program: "time_train",
    ours: "ours",
    script: "time_train_peers.py",
    peer: "peers",
    needs: Needs::Networks,
    // They repeat themselves.
    rounds: 1,
    anew: true,
    chosen_by: |case| &case.title,
    markdown,
    summary: markdown,
};

fn markdown(record: &Record, rows: &[Measured]) -> String {
    let mut text = conditions("", record);
    text.push_str(
        "A training step is the forward pass, the mean of squares as the loss, the backward pass and AdamW, fused in both. Floor: as many \
         multiplications and additions as products of large matrices; training counts thrice. Of a run it is the model, the loss \
         and the optimiser on batches that lie ready. Peaks are beyond the process without a network.\n\n",
    );
    text.push_str("| work | batch | ours, s | PyTorch, s | of PyTorch's time | floor, s | times the floor | peak | PyTorch's peak |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let time = |contestant: &str| seconds(row, contestant).map_or_else(|| "–".to_owned(), digits);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.case.title,
            row.case.n,
            time("ours"),
            time("torch"),
            ratio(row, "ours", "torch"),
            time("floor"),
            ratio(row, "ours", "floor"),
            megabytes(row, "ours"),
            megabytes(row, "torch"),
        );
    }
    for row in rows {
        if let (Some(run), Some(work), "run") = (seconds(row, "ours"), seconds(row, "floor"), row.case.loss.as_str()) {
            let more = 100.0 * (run / work - 1.0);
            let _ = writeln!(
                text,
                "\n– {}: data, log and checkpoints take {more:.1} % of the time of the work.",
                row.case.title
            );
        }
        if let Some(written) = seconds(row, "on the disk") {
            let _ = writeln!(text, "\n– {}: it is on the disk after {} s.", row.case.title, digits(written));
        }
        for why in row.skipped.values() {
            let _ = writeln!(text, "\n– {}: {why}", row.case.title);
        }
    }
    text
}
