//! Where the workspace is, and how cargo is called in it.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The cargo that runs this program, in the workspace's root. What it has told this program of its package is taken away: build
/// scripts watch these names, and would run anew, with all that depends on them.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    let told = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in told.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        command.env_remove(name);
    }
    command
}

/// Builds the program `bin` in release with the features that it has in the whole workspace, so that a build of the
/// workspace has built it already.
pub(crate) fn build(bin: &str) -> Result<PathBuf> {
    build_of(&["--workspace"], bin)
}

/// Builds the program `bin` of the `packages` in release, with cargo's own messages on standard error, and says where it
/// lies: cargo knows, whatever the environment and its configuration say of targets and folders.
pub(crate) fn build_of(packages: &[&str], bin: &str) -> Result<PathBuf> {
    eprintln!("building {bin} in release");
    let output = cargo()
        .args(["build", "--release", "--bin", bin])
        .args(["--message-format", "json-render-diagnostics"])
        .args(packages)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo build")?;
    if !output.status.success() {
        bail!("cargo build --release {} --bin {bin} failed: {}", packages.join(" "), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, bin).with_context(|| format!("cargo build names no executable of {bin}"))
}

/// The executable of `bin` among cargo's messages, one JSON object a line.
fn executable(messages: &str, bin: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == bin);
    ours.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// Cargo's target folder, wherever the environment or cargo's configuration puts it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", output.status);
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(target))
}

/// Writes `bytes` to `path`, whose folder is made if need be; a reader sees the old file or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A path for people: relative to the current folder where it lies below it.
pub(crate) fn shown(path: &Path) -> String {
    let below = env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_the_one_that_cargo_names() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"dml_core"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"other"},"executable":"/a/other"}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"dml"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"dml"},"executable":"/a/some-target/release/dml"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .join("\n");
        assert_eq!(executable(&messages, "dml"), Some(PathBuf::from("/a/some-target/release/dml")));
        assert_eq!(executable(&messages, "dml_core"), None);
    }
}
