//! The data sets a recipe can name.

mod files;
mod memory;

use crate::Recipe;
use crate::{Error, Result};
use dml_data::sources::omniglot::{self, Part};
use dml_data::sources::{emoji, fashion_mnist, image_folder, mnist};
use dml_data::{ImageSet, Inputs, Normalize};
use std::path::Path;
use std::sync::Arc;

/// What a run learns from and is measured on; for metric learning the parts share no class.
pub struct Sets {
    /// To learn from, augmented.
    pub train: Arc<dyn Inputs>,
    /// The same as for evaluation.
    pub still: Arc<dyn Inputs>,
    /// Super-classes of the training samples, where the source knows any.
    pub groups: Vec<u32>,
    /// To choose and calibrate by.
    pub validation: Option<Arc<dyn Inputs>>,
    /// To report.
    pub test: Option<Arc<dyn Inputs>>,
    /// Which test samples are queries and which are in the gallery, where the source says so.
    pub roles: Option<Vec<[bool; 2]>>,
    /// Validation and test images of sets in memory.
    pub images: [Option<Arc<ImageSet>>; 2],
    /// Lake's one-shot runs, to report; for Omniglot's background sets.
    pub one_shot: Vec<OneShotInputs>,
    /// What all parts are normalised with.
    pub normalize: Normalize,
}

impl Sets {
    /// The same without what is only for the report, so that nothing can be chosen by it.
    #[must_use]
    pub fn without_test(self) -> Self {
        let [validation, _] = self.images;
        Self { test: None, roles: None, images: [validation, None], one_shot: vec![], ..self }
    }
}

/// A run of Lake's: images with a name, and images to be named.
pub struct OneShotInputs {
    /// One of each class.
    pub train: Arc<dyn Inputs>,
    /// To be named.
    pub test: Arc<dyn Inputs>,
}

/// Sets in memory, and those that a file or folder of the user's makes.
const MEMORY: [&str; 8] =
    ["emoji", "folder", "table", "mnist", "fashion-mnist", "omniglot-small1", "omniglot-small2", "omniglot-full"];
/// Published sets of image files.
const FILES: [&str; 9] = [
    "att-faces",
    "cars-196",
    "cub-200-2011",
    "in-shop",
    "inaturalist-2018",
    "lfw",
    "mini-imagenet",
    "stanford-online-products",
    "vehicle-id",
];

/// Opens the data set of a recipe. Sets that are not embedded are looked for in `data_dir`; default:
/// [`dml_data::data_dir`].
///
/// # Errors
/// When the set is unknown, missing or damaged.
pub fn open(recipe: &Recipe, data_dir: Option<&Path>) -> Result<Sets> {
    let data_dir = || data_dir.map_or_else(dml_data::data_dir, |folder| Ok(folder.to_owned()));
    let (config, augment) = (&recipe.data, &recipe.augment);
    let wants_root =
        |what: &str| Error::Recipe(format!("data.set is {:?} but data.root is missing: name the {what}", config.set));
    match config.set.as_str() {
        "emoji" => memory::of_split(emoji::load()?, config, augment, false),
        "folder" => {
            let root = config.root.as_ref().ok_or_else(|| wants_root("folder of class folders"))?;
            memory::of_split(image_folder::load(root, config.size)?, config, augment, false)
        }
        "mnist" => memory::of_split(mnist::open(&data_dir()?)?, config, augment, false),
        "fashion-mnist" => memory::of_split(fashion_mnist::open(&data_dir()?)?, config, augment, false),
        "omniglot-small1" => memory::of_background(&data_dir()?, Part::Small1, config, augment),
        "omniglot-small2" => memory::of_background(&data_dir()?, Part::Small2, config, augment),
        // The published protocol takes rotations as classes in the test too.
        "omniglot-full" => memory::of_split(omniglot::full(&data_dir()?)?, config, augment, true),
        "table" => {
            let root = config.root.as_ref().ok_or_else(|| wants_root("CSV or Parquet file"))?;
            files::of_catalog(dml_data::sources::table::open(root, None)?, recipe)
        }
        "" => Err(Error::Recipe("data.set is missing: name a set, e.g. \"emoji\"".to_owned())),
        name if FILES.contains(&name) => files::of_catalog(dml_data::sources::open(name, &data_dir()?)?, recipe),
        other => {
            let known = [&MEMORY[..], &FILES].concat().join(", ");
            Err(Error::Recipe(format!("data.set is {other:?}: use one of {known}")))
        }
    }
}
