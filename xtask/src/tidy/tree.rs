//! Rules about files: their names, their length, and what must not be written in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Not ours, not source, or not tracked: never looked into. The first group lies at the root only.
const OUTPUTS: &[&str] = &["target", "runs", "data"];
const ANYWHERE: &[&str] = &[".git", ".venv", "target", "__pycache__", "node_modules"];

/// Longest source file, in lines.
const MAX_LINES: usize = 400;

/// All files of the workspace, relative to its root, sorted. What lies beside them, such as images or a virtual
/// environment, is its user's; only git knows that, so without git all files count.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    match root.join(".git").exists().then(|| ours(root)).flatten() {
        Some(files) => found = files,
        None => visit(root, Path::new(""), &mut found)?,
    }
    found.sort();
    Ok(found)
}

/// What git tracks, and what is new in a top folder that holds tracked files. `None` where git does not run.
fn ours(root: &Path) -> Option<Vec<PathBuf>> {
    let top =
        |path: &Path| path.parent().and_then(|dir| dir.components().next()?.as_os_str().to_str().map(str::to_owned));
    let mut files = listed(root, &["--cached"])?;
    let folders: BTreeSet<String> = files.iter().filter_map(|path| top(path)).collect();
    let new = listed(root, &["--others", "--exclude-standard"])?;
    files.extend(new.into_iter().filter(|path| top(path).is_some_and(|top| folders.contains(&top))));
    // What was just deleted is still tracked.
    files.retain(|path| root.join(path).is_file());
    Some(files)
}

fn listed(root: &Path, which: &[&str]) -> Option<Vec<PathBuf>> {
    let output = git(root).args(["ls-files", "-z"]).args(which).output().ok()?;
    let names = String::from_utf8_lossy(&output.stdout);
    let files = names.split_terminator('\0').map(PathBuf::from).collect();
    output.status.success().then_some(files)
}

/// Git in `root`, whatever repository a hook that runs us belongs to.
fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(root).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    git
}

fn visit(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let at_root = dir.as_os_str().is_empty();
    for entry in fs::read_dir(root.join(dir)).with_context(|| format!("cannot list {}", root.join(dir).display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let skipped = |names: &[&str]| names.iter().any(|skipped| name == *skipped);
        if skipped(ANYWHERE) || (at_root && skipped(OUTPUTS)) {
            continue;
        }
        let path = dir.join(&name);
        if entry.file_type()?.is_dir() {
            visit(root, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Rust sources of the workspace, relative to its root, with their text.
pub(super) fn sources(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let rust = files(root)?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| Ok((path.clone(), fs::read_to_string(root.join(&path))?))).collect()
}

/// Names that say nothing about what is inside.
pub(super) fn vague_names(root: &Path) -> Result<Vec<String>> {
    const VAGUE: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];
    let vague = |path: &Path| {
        path.components().any(|part| {
            let stem = Path::new(part.as_os_str()).file_stem().unwrap_or_default();
            VAGUE.iter().any(|vague| stem == *vague)
        })
    };
    Ok(files(root)?.iter().filter(|path| vague(path)).map(|path| path.display().to_string()).collect())
}

/// Sources that hold more than one idea.
pub(super) fn long_files(root: &Path) -> Result<Vec<String>> {
    let lengths = sources(root)?.into_iter().map(|(path, text)| (path, text.lines().count()));
    Ok(lengths
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{} has {lines}", path.display()))
        .collect())
}

/// Golden data below a `src/`.
pub(super) fn goldens_in_sources(root: &Path) -> Result<Vec<String>> {
    let golden = |path: &Path| {
        let data = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "npy");
        data && path.components().any(|part| part.as_os_str() == "src")
    };
    Ok(files(root)?.iter().filter(|path| golden(path)).map(|path| path.display().to_string()).collect())
}

/// Text that ties the project to one machine or one registry.
pub(super) fn machine_traces(root: &Path) -> Result<Vec<String>> {
    // In halves, so that this file does not break its own rule.
    let traces = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/us", "r/bin/python"],
        ["pypi", ".org"],
        ["python", "hosted.org"],
        ["registry", ".npmjs.org"],
        ["index", ".crates.io"],
        ["static", ".crates.io"],
        ["deb", ".debian.org"],
    ]
    .map(|halves| halves.concat());
    let mut broken = vec![];
    for path in files(root)? {
        // What is not text is data.
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for trace in traces.iter().filter(|trace| line.contains(trace.as_str())) {
                broken.push(format!("{}:{}: {trace}", path.display(), number + 1));
            }
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_repository_the_files_of_its_user_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let run = |arguments: &[&str]| git(root).args(arguments).output().is_ok_and(|output| output.status.success());
        if !run(&["init", "--quiet"]) {
            eprintln!("skipped: git does not run here");
            return;
        }
        for file in [".gitignore", "Cargo.toml", "src/lib.rs", "src/gone.rs"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "built\n").unwrap();
        }
        assert!(run(&["add", "."]));
        fs::remove_file(root.join("src/gone.rs")).unwrap();
        for file in ["src/new.rs", "src/built/x.rs", "photos/common/a.png", "env/pyvenv.cfg", "my.toml"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        assert_eq!(files(root).unwrap(), [".gitignore", "Cargo.toml", "src/lib.rs", "src/new.rs"].map(PathBuf::from));
    }
}
