//! `cargo xtask bench eval`.

use std::fmt::Write;

use super::peers::Needs;
use super::record::Record;
use super::table::{conditions, digits, megabytes, ratio, seconds};
use super::versus::{Contest, Measured};
use super::worker::Case;

pub(super) const CONTEST: Contest = Contest {
    name: "eval",
    folder: "bench-eval",
    program: "time_eval",
    ours: "ours",
    script: "time_eval_peers.py",
    peer: "peers",
    needs: Needs::Search,
    // They take minutes, and repeat themselves where they are short.
    rounds: 1,
    anew: false,
    chosen_by: |case| &case.title,
    markdown,
    summary: markdown,
};

/// Floating-point operations that a plain product of the case's pairs takes.
fn flops(case: &Case) -> f64 {
    let queries = case.params["queries"].as_u64().filter(|&q| q > 0).unwrap_or(case.n as u64);
    2.0 * queries as f64 * case.n as f64 * case.d as f64
}

fn markdown(record: &Record, rows: &[Measured]) -> String {
    let mut text = conditions("float32, ", record);
    let product = rows.iter().find(|row| row.case.loss == "product");
    let rate = product.and_then(|row| Some(flops(&row.case) / seconds(row, "ours")?));
    let _ = writeln!(
        text,
        "Floor: the pairs' product{}, all pairs where a set is not asked against itself. For verification it is measured: the \
         same product of half the pairs, with nothing done to the scores.\n",
        rate.map_or_else(String::new, |rate| format!(" at {:.0} GFLOP/s, as measured here", rate / 1e9))
    );
    text.push_str(
        "| work | n | d | ours, s | peer, s | times as fast | floor, s | times the floor | peak | peak of the peer |\n",
    );
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let peer = ["faiss", "pml", "numpy"].into_iter().find(|peer| row.seconds.contains_key(*peer)).unwrap_or("");
        let time = |contestant: &str| seconds(row, contestant).map_or_else(|| "–".to_owned(), digits);
        let computed = rate.map(|rate| flops(&row.case) / rate);
        let floor = seconds(row, "floor").or(computed);
        let above = seconds(row, "ours")
            .zip(floor)
            .map_or_else(|| "–".to_owned(), |(ours, floor)| format!("{:.2}", ours / floor));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {}{} | {} | {} | {above} | {} | {} |",
            row.case.title,
            row.case.n,
            row.case.d,
            time("ours"),
            time(peer),
            if peer.is_empty() { String::new() } else { format!(" ({peer})") },
            ratio(row, peer, "ours"),
            floor.map_or_else(|| "–".to_owned(), digits),
            megabytes(row, "ours"),
            megabytes(row, peer)
        );
    }
    for (row, why) in rows.iter().flat_map(|row| row.skipped.values().map(move |why| (row, why))) {
        let _ = writeln!(text, "\n– {}: {why}", row.case.title);
    }
    text
}
