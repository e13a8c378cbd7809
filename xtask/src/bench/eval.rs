//! `cargo xtask bench eval`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::losses::{Measured, cases, measure, threads};
use super::record::{Record, load_per_core};
use super::table::{busy, digits, megabytes, ratio, seconds};
use super::worker::{Case, Worker};
use super::{peers, readme};
use crate::workspace;

/// Options of `cargo xtask bench eval`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Beside faiss and pytorch-metric-learning on the CPU, in a virtual environment made below the target folder
    #[arg(long)]
    peers: bool,
    /// Make that environment anew with this Python
    #[arg(long, value_name = "PROGRAM", requires = "peers")]
    python: Option<PathBuf>,
    /// An eighth of the vectors
    #[arg(long)]
    quick: bool,
    /// Only cases whose title contains TEXT
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Folder of bench.json and bench.md [default: runs/bench-eval]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the result below bench/record, and put its table into the README
    #[arg(long)]
    record: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let threads = threads()?;
    let load = load_per_core();
    let program = workspace::build("dml-tests", "time_eval", &[])?;
    // The vectors of the cases: the contestants read the same.
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(&program);
    command.arg("serve").arg(folder.path()).env("RAYON_NUM_THREADS", threads.to_string());
    let mut commands = vec![("ours", command)];
    if arguments.peers {
        let python = peers::environment(arguments.python.as_deref())?;
        let mut command = Command::new(python);
        command.arg(workspace::root().join("tests/bench/time_eval_peers.py")).arg(folder.path());
        command.env("OMP_NUM_THREADS", threads.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        commands.push(("peers", command));
    }
    let started: Result<Vec<Worker>> =
        commands.iter_mut().map(|(name, command)| Worker::start(name, command)).collect();
    let mut workers = started?;
    let greetings: Vec<serde_json::Value> = workers.iter().map(|worker| worker.greeting.clone()).collect();
    let mut cases = cases(&program, arguments.quick)?;
    if let Some(only) = &arguments.only {
        cases.retain(|case| case.title.contains(only.as_str()));
    }
    let out = arguments.out.clone().unwrap_or_else(|| workspace::root().join("runs/bench-eval"));
    let mut rows = vec![];
    for (at, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}, n = {}, d = {}", at + 1, cases.len(), case.title, case.n, case.d);
        // One turn each: they take minutes, and repeat themselves where they are short.
        rows.push(measure(&mut workers, &mut commands, case, 1)?);
        let record = Record::new("eval", threads, load, greetings.clone(), &rows);
        record.write(&out.join("bench.json"), &out.join("bench.md"), &markdown(&record, &rows))?;
    }
    let record = Record::new("eval", threads, load, greetings, &rows);
    let markdown = markdown(&record, &rows);
    if arguments.record {
        let kept = workspace::root().join("bench/record").join(record.name());
        record.write(&kept.with_extension("json"), &kept.with_extension("md"), &markdown)?;
        readme::put("eval", &markdown)?;
    }
    println!("{}", markdown.trim_end());
    println!();
    println!("record: {} and bench.json", workspace::shown(&out.join("bench.md")));
    Ok(())
}

/// Floating-point operations that a plain product of the case's pairs takes.
fn flops(case: &Case) -> f64 {
    let queries = case.params["queries"].as_u64().filter(|&q| q > 0).unwrap_or(case.n as u64);
    2.0 * queries as f64 * case.n as f64 * case.d as f64
}

fn markdown(record: &Record, rows: &[Measured]) -> String {
    let programs: Vec<&str> = record.programs.iter().filter_map(|p| p["program"].as_str()).collect();
    let mut text = format!("float32, {} threads, {}; {}.\n", record.threads, record.cpu, programs.join("; "));
    text.push_str(&busy(record));
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
