//! Peak memory of this process, where the system (Linux) tells.

use std::fs;

/// Memory in use, in bytes.
fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bytes by which the process grew at its largest, over before, while `work` ran.
pub fn growth<R>(work: impl FnOnce() -> R) -> (R, Option<u64>) {
    // 5: the largest size is that of now.
    let reset = fs::write("/proc/self/clear_refs", "5").ok();
    let before = reset.and_then(|()| status("VmRSS:"));
    let result = work();
    let growth = before.and_then(|before| Some(status("VmHWM:")?.saturating_sub(before)));
    (result, growth)
}
