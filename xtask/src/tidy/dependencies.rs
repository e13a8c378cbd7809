//! Rules about which crate may use which.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// The arrows of the architecture: a crate and the crates of this workspace that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("dml-core", &[]),
    ("dml-losses", &["dml-core"]),
    ("dml-data", &[]),
    ("dml-eval", &["dml-core"]),
    ("dml-gallery", &["dml-eval", "dml-core"]),
    ("dml-models", &[]),
    ("dml-serve", &["dml-gallery", "dml-core"]),
    ("dml-train", &["dml-losses", "dml-eval", "dml-data", "dml-models", "dml-core"]),
    (
        "dml-cli",
        &["dml-train", "dml-serve", "dml-gallery", "dml-losses", "dml-eval", "dml-data", "dml-models", "dml-core"],
    ),
    ("dml-testkit", &[]),
    ("xtask", &["dml-data"]),
];

/// The package of cross-crate tests may use everything, and is used by nothing.
const TESTS: &str = "dml-tests";

/// Allowed in `[dev-dependencies]`, beyond the arrows.
const TEST_TOOL: &str = "dml-testkit";

/// Manifests with an edge between crates that the architecture does not have.
pub(super) fn edges(root: &Path) -> Result<Vec<String>> {
    let mut broken = vec![];
    for manifest in super::tree::files(root)?.into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(root.join(&manifest))?;
        let table: Table = text.parse().with_context(|| manifest.display().to_string())?;
        let Some(name) = table.get("package").and_then(|package| package.get("name")?.as_str()) else { continue };
        if name == TESTS || standalone(&table) {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(from, _)| *from == name).map_or(&[][..], |(_, to)| to);
        for (kind, to) in dependencies(&table) {
            let ours = to == TESTS || to == "xtask" || MAY_USE.iter().any(|(known, _)| *known == to);
            let for_tests = kind == "dev-dependencies" && to == TEST_TOOL;
            if ours && !for_tests && !allowed.contains(&to.as_str()) {
                broken.push(format!("{name} -> {to} ({kind} in {})", manifest.display()));
            }
        }
    }
    Ok(broken)
}

/// A workspace of its own: a consumer, which may use any single crate.
fn standalone(manifest: &Table) -> bool {
    manifest.contains_key("workspace")
}

/// `(section, package)` of all dependencies, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let mut found = vec![];
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (key, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let renamed = value.get("package").and_then(Value::as_str);
                found.push((kind, renamed.unwrap_or(key).to_owned()));
            }
        }
    }
    found
}

/// Packages of candle that cargo would link into xtask.
pub(super) fn candle_in_xtask(root: &Path) -> Result<Vec<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["tree", "--offline", "--package", "xtask", "--edges", "normal,build", "--prefix", "none"])
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let mut broken: Vec<String> =
        tree.lines().filter(|line| line.starts_with("candle")).map(|line| format!("xtask links {line}")).collect();
    broken.sort();
    broken.dedup();
    Ok(broken)
}
