//! Every recipe of the project is one: its keys are known, its values fit, and its loss takes its parameters.

use candle_core::Device;
use dml_losses::Context;
use dml_train::Recipe;
use std::path::{Path, PathBuf};

/// All files of recipes.
fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
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
