//! What a run of the bench leaves: `bench.json` with every time, and `bench.md`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use super::table::{median, quartiles};
use super::versus::Measured;
use crate::workspace;

/// A run: the machine, the programs and the rows.
pub(super) struct Record {
    /// What was timed.
    what: &'static str,
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
    pub(super) fn new(
        what: &'static str,
        threads: usize,
        load_per_core: Option<f64>,
        programs: Vec<Value>,
        measured: &[Measured],
    ) -> Self {
        Self { what, cpu: cpu(), threads, load_per_core, programs, rows: measured.iter().map(row).collect() }
    }

    /// Date and machine, as a file's name.
    pub(super) fn name(&self) -> String {
        let (year, month, day) = date(now());
        let machine: Vec<String> =
            self.cpu.split_whitespace().map(|w| w.chars().filter(char::is_ascii_alphanumeric).collect()).collect();
        let machine = machine.join("-").to_lowercase();
        format!("{year}-{month:02}-{day:02}-{}-{machine}-{}-threads", self.what, self.threads)
    }

    /// Writes both files; a reader sees the old one or the new one, never a part.
    pub(super) fn write(&self, json: &Path, md: &Path, markdown: &str) -> Result<()> {
        let all = json!({
            "unix_time": now(),
            "cpu": self.cpu,
            "os": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            "threads": self.threads,
            "load_per_core": self.load_per_core,
            "programs": self.programs,
            "rows": self.rows,
        });
        // A line for each case: small enough to keep, and to compare.
        let mut text = serde_json::to_string(&all)?;
        text = text.replace("{\"case\":", "\n{\"case\":") + "\n";
        workspace::write_atomically(json, text.as_bytes())?;
        workspace::write_atomically(md, markdown.as_bytes())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Year, month and day of a Unix time. Howard Hinnant's algorithm, counted from 1 March of year 0.
fn date(unix: u64) -> (u64, u64, u64) {
    let days = unix / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u64::from(month <= 2), month, day)
}

fn row(measured: &Measured) -> Value {
    let summary = |seconds: &[f64]| {
        let (low, high) = quartiles(seconds);
        json!({"median_s": median(seconds), "quartiles_s": [low, high], "repetitions": seconds.len()})
    };
    let contestants: serde_json::Map<String, Value> =
        measured.seconds.iter().map(|(contestant, seconds)| (contestant.clone(), summary(seconds))).collect();
    let Measured { case, bytes, recall, skipped, .. } = measured;
    json!({"case": case, "contestants": contestants, "bytes": bytes, "recall": recall, "skipped": skipped})
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

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_of_known_times() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(951_782_400), (2000, 2, 29));
        assert_eq!(date(1_795_478_400), (2026, 11, 24));
    }
}
