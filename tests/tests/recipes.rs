//! Every recipe of the project is one: its keys are known, its values fit, and its loss takes its parameters.

use candle_core::Device;
use dml_losses::Context;
use dml_train::Recipe;
use std::path::{Path, PathBuf};

#[path = "../../xtask/src/reproduce/quick.rs"]
mod quick;

/// All files of recipes.
fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[derive(serde::Deserialize)]
struct Suite {
    #[serde(default)]
    job: Vec<Job>,
}

#[derive(serde::Deserialize)]
struct Job {
    name: String,
    recipe: String,
    #[serde(default)]
    set: Vec<String>,
    needs: Option<String>,
}

fn suite(path: &Path) -> Suite {
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_row_of_a_suite_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let suites = std::fs::read_dir(folder.join("suites")).unwrap().map(|entry| entry.unwrap().path());
    let mut rows = 0;
    for path in suites {
        for job in suite(&path).job {
            let row = format!("{}, {}", path.display(), job.name);
            let recipe = Recipe::read(&folder.join(&job.recipe), &job.set).unwrap_or_else(|e| panic!("{row}: {e}"));
            let context = Context { device: Device::Cpu, ..Context::new(8, 5) };
            recipe.loss.objective().build(&context).unwrap_or_else(|e| panic!("{row}: {e}"));
            // Omniglot is one set to fetch and several to name.
            assert!(job.needs.is_none_or(|needs| recipe.data.set.starts_with(&needs)), "{row}: {}", recipe.data.set);
            // `cargo xtask reproduce-paper --quick` runs each in a few steps.
            let table = toml::from_str(&std::fs::read_to_string(folder.join(&job.recipe)).unwrap()).unwrap();
            let short = [job.set.clone(), quick::changes(&table, &job.set, 5)].concat();
            Recipe::read(&folder.join(&job.recipe), &short).unwrap_or_else(|e| panic!("{row} --quick: {e}"));
            rows += 1;
        }
    }
    assert!(rows > 100, "{rows}");
}

#[test]
fn every_method_of_the_papers_is_there_on_every_set() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let jobs = suite(&folder.join("suites/papers.toml")).job;
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    for method in [
        "proxy_anchor",
        "proxy_nca_plus_plus",
        "norm_softmax",
        "soft_triple",
        "multi_similarity",
        "margin",
        "contrastive_xbm",
        "hyp_dino",
    ] {
        for set in ["cub", "cars", "sop", "in_shop"] {
            let row = format!("{method}-{set}");
            let job = jobs.iter().find(|job| job.name == row).unwrap_or_else(|| panic!("no {row} among {names:?}"));
            let recipe = Recipe::read(&folder.join(&job.recipe), &job.set).unwrap();
            assert_eq!(recipe.name, format!("{method}_{set}"));
        }
    }
}

#[test]
fn every_recipe_is_understood() {
    let recipes = recipes();
    assert!(recipes.len() > 10, "{}", recipes.len());
    for path in recipes {
        let recipe = Recipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let context = Context { device: Device::Cpu, ..Context::new(8, 5) };
        recipe.loss.objective().build(&context).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
