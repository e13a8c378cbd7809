//! What a run of the bench leaves: `bench.json` with every time, and `bench.md`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use super::losses::Measured;
use super::table::{median, quartiles};
use crate::workspace;

/// A run: the machine, the programs and the rows.
pub(super) struct Record {
    /// Model of the processor, as the system names it.
    pub(super) cpu: String,
    /// Threads of each contestant.
    pub(super) threads: usize,
    /// Processes that wanted a core in the minute before, for each core, where the system tells.
    pub(super) load_per_core: Option<f64>,
    /// What each program said of itself.
    pub(super) programs: Vec<Value>,
    rows: Vec<Value>,
}

impl Record {
    pub(super) fn new(threads: usize, load_per_core: Option<f64>, programs: Vec<Value>, measured: &[Measured]) -> Self {
        Self { cpu: cpu(), threads, load_per_core, programs, rows: measured.iter().map(row).collect() }
    }

    /// Writes both files into `out`; a reader sees the old one or the new one, never a part.
    pub(super) fn write(&self, out: &Path, markdown: &str) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let all = json!({
            "unix_time": now,
            "cpu": self.cpu,
            "os": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            "threads": self.threads,
            "load_per_core": self.load_per_core,
            "programs": self.programs,
            "rows": self.rows,
        });
        workspace::write_atomically(&out.join("bench.json"), &serde_json::to_vec_pretty(&all)?)?;
        workspace::write_atomically(&out.join("bench.md"), markdown.as_bytes())
    }
}

fn row(measured: &Measured) -> Value {
    let summary = |seconds: &[f64]| {
        let (low, high) = quartiles(seconds);
        json!({"median_s": median(seconds), "quartiles_s": [low, high], "all_s": seconds})
    };
    let contestants: serde_json::Map<String, Value> =
        measured.seconds.iter().map(|(contestant, seconds)| (contestant.clone(), summary(seconds))).collect();
    json!({"case": measured.case, "contestants": contestants, "skipped": measured.skipped})
}

/// Load average of the last minute, over the number of cores.
pub(super) fn load_per_core() -> Option<f64> {
    let load: f64 = fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()?;
    Some(load / thread::available_parallelism().ok()?.get() as f64)
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}
