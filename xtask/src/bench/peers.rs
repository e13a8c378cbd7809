//! The virtual environment of pytorch-metric-learning.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The version whose losses the goldens come from too.
const PML: &str = "pytorch-metric-learning==2.9.0";

/// Python of the environment, made on the first call. A system Python that has PyTorch lends it, because a wheel of
/// PyTorch is large.
pub(super) fn environment(python: Option<&Path>) -> Result<PathBuf> {
    let venv = workspace::target_dir()?.join("bench-venv");
    let inside = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if imports(&inside, "torch, pytorch_metric_learning.losses, pytorch_metric_learning.miners") {
        return Ok(inside);
    }
    let python = python.map_or_else(system_python, Path::to_owned);
    eprintln!("making {} with {}", workspace::shown(&venv), python.display());
    step(Command::new(&python).args(["-m", "venv", "--clear", "--system-site-packages"]).arg(&venv))?;
    let pip = |arguments: &[&str]| {
        step(
            Command::new(&inside)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(arguments),
        )
    };
    if imports(&inside, "torch") {
        // Without dependencies: pip would replace the system's PyTorch by a newer one.
        pip(&["--no-deps", PML])?;
        pip(&["scikit-learn", "tqdm"])?;
    } else {
        pip(&["torch", PML])?;
    }
    Ok(inside)
}

/// The first Python that has PyTorch; where none has, the first.
fn system_python() -> PathBuf {
    let candidates = ["python3", "/usr/bin/python3"].map(PathBuf::from);
    let found = candidates.iter().find(|python| imports(python, "torch"));
    found.unwrap_or(&candidates[0]).clone()
}

fn imports(python: &Path, modules: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {modules}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn step(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}; without --peers the bench needs no Python");
    }
    Ok(())
}
