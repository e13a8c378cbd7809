//! Keys that say nothing of the set of a recipe are refused, lest somebody believe in them.

use super::{are_files, texts};
use crate::recipe::DataConfig;
use crate::{Error, Recipe, Result};
use dml_data::Augment;
use dml_data::image::Decoder;

/// A key, and whether it is set to something.
type Key = (&'static str, bool);

/// # Errors
/// Names the first key that the set of `recipe` does not look at, and what to write instead.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let (data, holds_texts) = (&recipe.data, texts::NAMES.contains(&recipe.data.set.as_str()));
    let groups = if holds_texts {
        vec![(of_memory(recipe), NO_IMAGES), (of_files(data), NO_IMAGES)]
    } else if are_files(data) {
        vec![(of_memory(recipe), "write what is done to its files as data.train_transforms")]
    } else {
        vec![(of_files(data), "its images lie in memory in one size, and augment is what is done to them")]
    };
    let no_texts = (of_texts(data), "it holds no texts, and data.texts names none: leave it out");
    // Of an encoder of texts without texts more is to be said, and is elsewhere.
    let without_texts = !holds_texts && data.texts.is_none() && recipe.model.for_texts().is_none();
    let without_texts = without_texts.then_some(no_texts);
    for (keys, mend) in groups.into_iter().chain(without_texts) {
        if let Some((key, _)) = keys.into_iter().find(|(_, is_set)| *is_set) {
            return Err(Error::Recipe(format!("{key} says nothing of data.set {:?}: {mend}", data.set)));
        }
    }
    Ok(())
}

const NO_IMAGES: &str = "it holds no images: leave it out";

/// What is done to images in memory.
fn of_memory(recipe: &Recipe) -> Vec<Key> {
    vec![("augment", recipe.augment != Augment::default()), ("data.rotations", recipe.data.rotations)]
}

/// What is done to images in files.
fn of_files(data: &DataConfig) -> Vec<Key> {
    vec![
        ("data.train_transforms", data.train_transforms.is_some()),
        ("data.eval_transforms", data.eval_transforms.is_some()),
        ("data.preset", data.preset != DataConfig::default().preset),
        ("data.normalize", data.normalize.is_some()),
        ("data.decoder", data.decoder != Decoder::default()),
        ("data.boxes", data.boxes.is_some()),
        ("data.cache", data.cache.is_some()),
    ]
}

/// How texts become tokens.
fn of_texts(data: &DataConfig) -> Vec<Key> {
    vec![("data.tokenizer", data.tokenizer.is_some()), ("data.max_length", data.max_length > 0)]
}

#[cfg(test)]
mod tests {
    use crate::{Recipe, sets};
    use std::path::Path;

    #[test]
    fn the_recipes_name_no_key_in_vain() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|ending| ending == "toml")).collect();
        assert!(files.len() > 30);
        files.iter().for_each(|file| super::check(&Recipe::read(file, &[]).unwrap()).unwrap());
    }

    #[test]
    fn keys_of_other_sets_are_refused_with_the_mend() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().display().to_string();
        let recipe = "name = 'x'\n[data]\nset = 'emoji'\n[loss]\nname = 'triplet'\n[sampler]\nclasses = 2\nper_class = 2\n[train]\nsteps = 5\n";
        let message = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|of| (*of).replace("ROOT", &root)).collect();
            sets::open(&Recipe::parse(recipe, &overrides).unwrap(), None).err().map(|error| error.to_string())
        };
        let says = |overrides: &[&str], what: &str| {
            let message = message(overrides).unwrap_or_default();
            assert!(message.contains(what), "{overrides:?}: {message}");
        };
        assert_eq!(message(&["augment.rotate=10.0", "data.rotations=true"]), None);
        says(&["data.preset=mlrc"], "data.preset says nothing of data.set \"emoji\": its images lie in memory");
        says(&["data.cache=ROOT"], "data.cache says nothing");
        says(&["data.max_length=8"], "data.max_length says nothing of data.set \"emoji\": it holds no texts");
        for set in ["data.set=table", "data.set=cub-200-2011"] {
            says(&[set, "data.root=ROOT/t.csv", "augment.rotate=10.0"], "augment says nothing of data.set");
        }
        let folder = ["data.set=folder", "data.root=ROOT", "data.preset=mlrc", "data.rotations=true"];
        says(&folder, "data.rotations says nothing of data.set \"folder\": write what is done to its files as");
        says(&["data.set=emoji-names", "augment.rotate=10.0"], "augment says nothing of data.set \"emoji-names\"");
        says(&["data.set=stsb", "data.boxes=true"], "it holds no images");
    }
}
