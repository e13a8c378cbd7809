//! What the targets of `tests/fuzz` do, on the files that their corpus begins with and on altered ones: few, but each time. And every
//! target is one of them.
#![allow(unexpected_cfgs, reason = "the tiny sets of dml-data ask for its features")]

#[path = "../fuzz/src/data.rs"]
pub mod data;
#[path = "../fuzz/src/eval.rs"]
pub mod eval;
#[path = "../fuzz/src/place.rs"]
pub mod place;
#[path = "../fuzz/src/seeds.rs"]
pub mod seeds;

use dml_data::rng::{Purpose, stream};
use place::Target;
use rand::Rng;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Altered files that are made of each right one.
const ALTERED: u64 = 20;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every target with its module.
fn targets() -> impl Iterator<Item = (&'static str, &'static str, fn(&[u8]))> {
    let of = |module, targets: &'static [Target]| targets.iter().map(move |&(name, target)| (module, name, target));
    of("data", &data::TARGETS).chain(of("eval", &eval::TARGETS))
}

#[test]
fn targets_take_right_files_and_altered_ones() {
    let seeds = seeds::all(&tests().join("golden"));
    for (_, name, target) in targets() {
        let own: Vec<&Vec<u8>> =
            seeds.iter().filter(|(path, _)| path.split('/').next() == Some(name)).map(|(_, bytes)| bytes).collect();
        assert!(!own.is_empty(), "{name} has no file to begin with");
        target(b"");
        for (number, bytes) in own.into_iter().enumerate() {
            target(bytes);
            for round in 0..ALTERED {
                let mut rng = stream(number as u64, Purpose::Sample, (round, 0));
                let mut altered = bytes.clone();
                for _ in 0..rng.random_range(1..4) {
                    // Half of the changes are at the front, where the headers are.
                    let end = if rng.random() { altered.len() } else { altered.len().min(64) };
                    altered[rng.random_range(0..end)] = rng.random();
                }
                if rng.random() {
                    altered.truncate(rng.random_range(1..=altered.len()));
                }
                target(&altered);
            }
        }
    }
}

#[test]
fn every_target_is_built_by_cargo_fuzz_and_does_what_is_tested_here() {
    let fuzz = tests().join("fuzz");
    let manifest: toml::Table = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap().parse().unwrap();
    let text = |bin: &toml::Value, key: &str| bin.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let built: BTreeSet<(String, String, bool)> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| (text(bin, "name"), text(bin, "path"), bin.get("required-features").is_some()))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(fuzz.join("fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let path = |name: &str| format!("fuzz_targets/{name}.rs");
    let wanted = targets().map(|(module, name, _)| (name.to_owned(), path(name), module == "eval")).collect();
    assert_eq!(built, wanted);
    assert_eq!(there, targets().map(|(_, name, _)| format!("{name}.rs")).collect());
    for (module, name, _) in targets() {
        let source = fs::read_to_string(fuzz.join(path(name))).unwrap();
        let only = format!(
            "//! See `dml_fuzz::{module}::{name}`.\n#![no_main]\n\n\
             libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dml_fuzz::{module}::{name}(bytes));\n"
        );
        assert_eq!(source, only, "{}", path(name));
    }
}
