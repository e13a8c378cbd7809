//! Rules about what Rust sources say. They read lines, not syntax: enough for code that `cargo fmt` has laid out.

use std::path::Path;

use anyhow::Result;

use super::tree::sources;

/// How far above an `unsafe` its comment may begin, in lines.
const COMMENT_REACH: usize = 8;

/// Code lines of the sources that `wanted` picks, without comments and without the tests at a file's end:
/// `(path:line, code)`.
fn code(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>> {
    let mut lines = vec![];
    for (path, text) in sources(root)? {
        // One spelling on every system.
        let path = path.to_string_lossy().replace('\\', "/");
        if !wanted(&path) {
            continue;
        }
        let product = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        lines.extend(product.enumerate().map(|(i, line)| (format!("{path}:{}", i + 1), without_comment(line))));
    }
    Ok(lines)
}

fn without_comment(line: &str) -> String {
    line.split("//").next().unwrap_or_default().to_owned()
}

/// Where `code` contains one of `words` as a whole word.
fn mentions(code: &[(String, String)], words: &[&str]) -> Vec<String> {
    let found = |line: &str| words.iter().copied().find(|word| has_word(line, word));
    code.iter().filter_map(|(place, line)| Some(format!("{place}: {}", found(line)?))).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// `unsafe` without a comment that says why it is sound.
pub(super) fn undocumented_unsafe(root: &Path) -> Result<Vec<String>> {
    let mut broken = vec![];
    for (path, text) in sources(root)? {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = without_comment(line);
            // As code, not in the text of a message or in the name of a lint.
            let opens = ["unsafe {", "unsafe impl ", "unsafe fn ", "unsafe extern "]
                .iter()
                .any(|form| code.match_indices(form).any(|(at, _)| code[..at].matches('"').count().is_multiple_of(2)));
            let explained = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
            if opens && !lines[i.saturating_sub(COMMENT_REACH)..=i].iter().any(explained) {
                broken.push(format!("{}:{}", path.display(), i + 1));
            }
        }
    }
    Ok(broken)
}

/// Printing in a library crate. Tests, benches and examples may print, and so do the binaries dml-cli and xtask.
pub(super) fn printing_libraries(root: &Path) -> Result<Vec<String>> {
    let library = |path: &str| path.starts_with("crates/") && path.contains("/src/") && !path.contains("/dml-cli/");
    Ok(mentions(&code(root, library)?, &["println!", "eprintln!", "print!", "eprint!", "dbg!"]))
}

/// Device dispatch in a loss: the driver in dml-core owns it. That a tensor of the host is made on the host is none.
pub(super) fn losses_ask_device(root: &Path) -> Result<Vec<String>> {
    let losses = code(root, |path| path.starts_with("crates/dml-losses/src/"))?;
    Ok(mentions(&losses, &["Device::Cuda", "Device::Metal", "is_cpu", "is_cuda", "is_metal"]))
}

/// A sampler that could look at images: then an epoch would cost a pass over the data.
pub(super) fn samplers_see_samples(root: &Path) -> Result<Vec<String>> {
    let samplers = code(root, |path| path.starts_with("crates/dml-data/src/sampler"))?;
    Ok(mentions(&samplers, &["Dataset", "ImageSet", "Image", "Batch", "Tensor"]))
}

/// A closure for the widest vectors that compilers may leave uninlined: it is then called, and compiled for the narrowest.
pub(super) fn called_in_vectors(root: &Path) -> Result<Vec<String>> {
    let code = code(root, |path| path.starts_with("crates/"))?;
    let closure = |line: &str| line.contains("widest(|") || line.contains("widest(move |");
    Ok(code.into_iter().filter(|(_, line)| closure(line)).map(|(place, _)| place).collect())
}
