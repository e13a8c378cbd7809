//! The virtual environment of pytorch-metric-learning, faiss, torchvision, timm, transformers and sentence-transformers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The version of PML whose losses the goldens come from too.
const VERSION: &str = "2.9.0";
// Those of bench/record, and of sentence-transformers that of the README's table: other versions would be other peers.
const FAISS: &str = "faiss-cpu==1.15.1";
const TORCH: &str = "2.15.0";
const TORCHVISION: &str = "0.29.2";
const TIMM: &str = "1.0.31";
const TRANSFORMERS: &str = "5.24.0";
const SENTENCE_TRANSFORMERS: &str = "6.2.0";

/// What is asked of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Losses and search.
    Search,
    /// torchvision, too.
    Images,
    /// torchvision, timm and transformers, too.
    Networks,
    /// sentence-transformers, too.
    Sentences,
}

/// Python of the environment, made when it is missing, of another version, or asked for with a `python`. A system Python that has PyTorch lends it, because a wheel of
/// PyTorch is large.
pub(super) fn environment(python: Option<&Path>, needs: Needs) -> Result<PathBuf> {
    let venv = workspace::target_dir()?.join("bench-venv");
    let inside = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let ready = format!(
        "import faiss, torch, pytorch_metric_learning as pml, pytorch_metric_learning.losses, pytorch_metric_learning.miners\n\
         assert pml.__version__ == '{VERSION}'"
    );
    if python.is_some() || !runs(&inside, &ready) {
        make(&venv, &inside, python)?;
    }
    if ![Needs::Search, Needs::Sentences].contains(&needs) && !runs(&inside, "import torchvision") {
        let code = "import torch; print(torch.__version__.split('+')[0])";
        let output = Command::new(&inside).args(["-c", code]).output().context("cannot ask PyTorch for its version")?;
        let torch = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // Beside a PyTorch that a system lends the version that fits it: another would bring another PyTorch.
        let torchvision = if torch == TORCH { format!("torchvision=={TORCHVISION}") } else { "torchvision".to_owned() };
        pip(&inside, &[&torchvision, &format!("torch=={torch}")])?;
    }
    if needs == Needs::Networks {
        pinned(&inside, &[("timm", "timm", TIMM), ("transformers", "transformers", TRANSFORMERS)])?;
    }
    if needs == Needs::Sentences {
        pinned(&inside, &[("sentence-transformers", "sentence_transformers", SENTENCE_TRANSFORMERS)])?;
    }
    Ok(inside)
}

/// Brings the packages that are not there in just these versions: package, module and version of each.
fn pinned(inside: &Path, packages: &[(&str, &str, &str)]) -> Result<()> {
    let mut wanted = vec![];
    for (package, module, version) in packages {
        if !runs(inside, &format!("import {module}\nassert {module}.__version__ == '{version}'")) {
            wanted.push(format!("{package}=={version}"));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    pip(inside, &wanted.iter().map(String::as_str).collect::<Vec<_>>())
}

fn make(venv: &Path, inside: &Path, python: Option<&Path>) -> Result<()> {
    let python = python.map_or_else(system_python, Path::to_owned);
    eprintln!("making {} with {}", workspace::shown(venv), python.display());
    step(Command::new(&python).args(["-m", "venv", "--clear", "--system-site-packages"]).arg(venv))?;
    let pml = format!("pytorch-metric-learning=={VERSION}");
    if runs(inside, "import torch") {
        // Without dependencies: pip would replace the system's PyTorch by a newer one.
        pip(inside, &["--no-deps", &pml])?;
        return pip(inside, &["scikit-learn", "tqdm", FAISS]);
    }
    pip(inside, &[&format!("torch=={TORCH}"), &pml, FAISS])
}

fn pip(python: &Path, arguments: &[&str]) -> Result<()> {
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    step(Command::new(python).args(install).args(arguments))
}

/// The first Python that has PyTorch; where none has, the first.
fn system_python() -> PathBuf {
    let candidates = ["python3", "python"].map(PathBuf::from);
    let found = candidates.iter().find(|python| runs(python, "import torch"));
    found.unwrap_or(&candidates[0]).clone()
}

/// Whether `python` is there and `code` ends without an error.
fn runs(python: &Path, code: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", code]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
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
