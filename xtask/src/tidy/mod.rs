//! The rules of ARCHITECTURE.md that a compiler cannot see. `cargo xtask tidy` and `cargo test -p xtask` check the same.

mod dependencies;
mod source;
mod tree;

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace;

/// A rule: what it says, and what in a workspace breaks it, one line each.
struct Rule {
    says: &'static str,
    broken: fn(&Path) -> Result<Vec<String>>,
}

const RULES: &[Rule] = &[
    Rule { says: "crates depend on each other only along the arrows of ARCHITECTURE.md", broken: dependencies::edges },
    Rule { says: "xtask does not link candle", broken: dependencies::candle_in_xtask },
    Rule { says: "no file or folder is named after nothing (utils, common, helpers, misc)", broken: tree::vague_names },
    Rule { says: "a source file has at most 400 lines", broken: tree::long_files },
    Rule { says: "goldens lie in tests/golden, never among the sources", broken: tree::goldens_in_sources },
    Rule { says: "no path of one machine and no registry host is written down", broken: tree::machine_traces },
    Rule { says: "each `unsafe` has a SAFETY comment", broken: source::undocumented_unsafe },
    Rule { says: "only binaries print", broken: source::printing_libraries },
    Rule { says: "dml-losses does not ask which device it is on", broken: source::losses_ask_device },
    Rule { says: "a closure for the widest vectors is `#[inline(always)]`", broken: source::called_in_vectors },
    Rule { says: "a sampler sees labels, never samples", broken: source::samplers_see_samples },
];

/// Checks all rules.
pub(crate) fn run() -> Result<()> {
    let mut count = 0;
    for rule in RULES {
        let broken = (rule.broken)(workspace::root())?;
        for line in &broken {
            eprintln!("{}: {line}", rule.says);
        }
        count += broken.len();
    }
    if count > 0 {
        bail!("{count} places break a rule");
    }
    println!("tidy: {} rules hold", RULES.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let broken = |rule: &Rule| (rule.broken)(workspace::root()).expect("a readable workspace");
        let broken: Vec<String> = RULES
            .iter()
            .flat_map(|rule| broken(rule).into_iter().map(move |line| format!("{}: {line}", rule.says)))
            .collect();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    /// A workspace that breaks each rule once; a rule that finds nothing there checks nothing.
    #[test]
    fn each_rule_finds_what_it_forbids() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = ['crates/*', 'xtask']\n[workspace.package]\nversion = '0.1.0'\n");
        let package = |name: &str, dependencies: &str| {
            format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n[dependencies]\n{dependencies}")
        };
        write("crates/dml-core/Cargo.toml", &package("dml-core", "dml-losses = { path = '../dml-losses' }\n"));
        write("crates/dml-core/src/lib.rs", "mod helpers;\n");
        write("crates/dml-core/src/helpers.rs", &"// line\n".repeat(401));
        write("crates/dml-core/src/golden.safetensors", "");
        write("crates/dml-losses/Cargo.toml", &package("dml-losses", ""));
        write(
            "crates/dml-losses/src/lib.rs",
            &[
                "fn f() {\n    println!();\n    unsafe { g() }\n    let _ = device.is_cuda();\n    wid",
                "est(|| 1);\n}\n",
            ]
            .concat(),
        );
        write("crates/dml-data/Cargo.toml", &package("dml-data", ""));
        write("crates/dml-data/src/lib.rs", "");
        write("crates/dml-data/src/sampler/pk.rs", "use crate::Dataset;\n");
        write("candle-core/Cargo.toml", &package("candle-core", ""));
        write("candle-core/src/lib.rs", "");
        write("xtask/Cargo.toml", &package("xtask", "candle-core = { path = '../candle-core' }\n"));
        write("xtask/src/main.rs", "fn main() {}\n");
        write("README.md", &["See /ro", "ot/notes.\n"].concat());
        for rule in RULES {
            let broken = (rule.broken)(dir.path()).unwrap();
            assert_eq!(broken.len(), 1, "{}: {broken:?}", rule.says);
        }
    }
}
