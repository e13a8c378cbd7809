//! The data sets a recipe can name.

mod files;
mod image_texts;
mod keys;
mod memory;
mod texts;
mod two_streams;

pub(crate) use files::evaluation;
pub(crate) use texts::tokenizer;

use crate::correlation::ScoredPairs;
use crate::cross_modal::Captions;
use crate::examples::Examples;
use crate::recipe::{DataConfig, Known};
use crate::{Error, Recipe, Result};
use dml_data::sources::omniglot::{self, Part};
use dml_data::sources::{emoji, fashion_mnist, image_folder, mnist};
use dml_data::{BatchSampler, Catalog, ImageSet, Normalize, Samples, SplitRule};
use std::path::Path;
use std::sync::Arc;

/// What a run learns from and is measured on; for metric learning the parts share no class.
pub struct Sets {
    /// To learn from, augmented.
    pub train: Arc<dyn Examples>,
    /// The same as for evaluation.
    pub still: Arc<dyn Examples>,
    /// Super-classes of the training samples, where the source knows any.
    pub groups: Vec<u32>,
    /// To choose and calibrate by.
    pub validation: Option<Arc<dyn Examples>>,
    /// To report.
    pub test: Option<Arc<dyn Examples>>,
    /// Which training samples are queries and which are in the gallery, where the source says so.
    pub train_roles: Option<Vec<[bool; 2]>>,
    /// The same of test samples.
    pub roles: Option<Vec<[bool; 2]>>,
    /// Validation and test images of sets in memory.
    pub images: [Option<Arc<ImageSet>>; 2],
    /// Lake's one-shot runs, to report; for Omniglot's background sets.
    pub one_shot: Vec<OneShotInputs>,
    /// What all images are normalised with.
    pub normalize: Option<Normalize>,
    /// Of pairs: the number of each text of each training pair, equal ones for equal texts.
    pub text_numbers: Vec<[u32; 2]>,
    /// Of pairs: those to choose by and those to report.
    pub scored: [Option<ScoredPairs>; 2],
    /// Of images with texts: the texts of the validation images and of the test images.
    pub captions: [Option<Captions>; 2],
    /// Whether training examples come in two views.
    pub two_views: bool,
}

impl Sets {
    /// Nothing but `train`, which is not augmented.
    fn of_train(train: Arc<dyn Examples>) -> Self {
        Self {
            still: train.clone(),
            train,
            groups: vec![],
            validation: None,
            test: None,
            train_roles: None,
            roles: None,
            images: [None, None],
            one_shot: vec![],
            normalize: None,
            text_numbers: vec![],
            scored: [None, None],
            captions: [None, None],
            two_views: false,
        }
    }

    /// The sampler of `recipe` over the training examples.
    ///
    /// # Errors
    /// As [`SamplerConfig::build`](crate::recipe::SamplerConfig::build).
    pub fn sampler(&self, recipe: &Recipe) -> Result<Box<dyn BatchSampler>> {
        let known = Known { labels: self.train.labels(), groups: &self.groups, texts: &self.text_numbers };
        recipe.sampler.build(known, recipe.seed)
    }

    /// The same without what is only for the report, so that nothing can be chosen by it.
    #[must_use]
    pub fn without_test(self) -> Self {
        let ([images, _], [scored, _], [captions, _]) = (self.images, self.scored, self.captions);
        let (images, scored, captions) = ([images, None], [scored, None], [captions, None]);
        Self { test: None, roles: None, images, one_shot: vec![], scored, captions, ..self }
    }

    /// `[channels, height, width]` of the images; of texts anything, since their encoders do not ask.
    pub(crate) fn input_shape(&self) -> [usize; 3] {
        self.train.images().map_or([1, 1, 1], |images| images.shape())
    }
}

/// A catalogue in its parts.
struct Parts<S> {
    train: Catalog<S>,
    validation: Option<Catalog<S>>,
    test: Option<Catalog<S>>,
    /// Of the training samples.
    groups: Vec<u32>,
    /// Of the training samples and of the test samples.
    roles: [Option<Vec<[bool; 2]>>; 2],
}

/// Which samples are queries and which are in the gallery, unless all are both.
fn roles<S: Samples>(part: &Catalog<S>) -> Option<Vec<[bool; 2]>> {
    let roles: Vec<_> = (0..part.len()).map(|i| [part.is_query(i), part.is_gallery(i)]).collect();
    Some(roles).filter(|roles| !roles.iter().all(|&role| role == [true, true]))
}

impl<S: Samples> Parts<S> {
    /// The parts of `catalog`; the share `validation` of the training classes, if it has none.
    fn of(catalog: &Catalog<S>, config: &DataConfig) -> Result<Self> {
        let part = |name: &str| -> Result<Option<Catalog<S>>> {
            Ok(if catalog.part_names().iter().any(|part| part == name) { Some(catalog.part(name)?) } else { None })
        };
        let whole = part("train")?.ok_or_else(|| {
            let parts = catalog.part_names().join(", ");
            Error::Recipe(format!(
                "data.set {:?} has no part `train` but {parts}: give it a column `split`",
                config.set
            ))
        })?;
        let (train, validation) = match part("validation")? {
            // A rule that deals none leaves the part empty.
            Some(validation) if !validation.is_empty() => (whole, Some(validation)),
            _ if config.validation > 0.0 => {
                let rule = SplitRule { test: 0.0, validation: config.validation, ..SplitRule::default() };
                let dealt = whole.split(&rule)?;
                (dealt.part("train")?, Some(dealt.part("validation")?))
            }
            _ => (whole, None),
        };
        let test = part("test")?;
        let roles = [roles(&train), test.as_ref().and_then(roles)];
        Ok(Self { groups: train.groups().to_vec(), train, validation, test, roles })
    }
}

/// A run of Lake's: images with a name, and images to be named.
pub struct OneShotInputs {
    /// One of each class.
    pub train: Arc<dyn Examples>,
    /// To be named.
    pub test: Arc<dyn Examples>,
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

/// Whether its set is of image files, which go through a pipeline.
pub(crate) fn are_files(config: &DataConfig) -> bool {
    let set = config.set.as_str();
    set == "table" || FILES.contains(&set) || set == "folder" && config.names_transforms()
}

/// Opens the data set of a recipe. Sets that are not embedded are looked for in `data_dir`; default:
/// [`dml_data::data_dir`].
///
/// # Errors
/// When the set is unknown, missing or damaged.
pub fn open(recipe: &Recipe, data_dir: Option<&Path>) -> Result<Sets> {
    keys::check(recipe)?;
    let recipe = &recipe.completed()?;
    let sets = opened(recipe, data_dir)?;
    match (&recipe.data.texts, recipe.data.views) {
        (Some(texts), _) => image_texts::with_texts(sets, recipe, texts),
        (None, 2) => image_texts::drawn_twice(sets, recipe),
        (None, _) if recipe.data.two_streams => two_streams::of_roles(sets, recipe),
        (None, _) => Ok(sets),
    }
}

/// The set itself, one view of each example but for pairs.
fn opened(recipe: &Recipe, data_dir: Option<&Path>) -> Result<Sets> {
    let data_dir = || data_dir.map_or_else(dml_data::data_dir, |folder| Ok(folder.to_owned()));
    let (config, augment) = (&recipe.data, &recipe.augment);
    let wants_root =
        |what: &str| Error::Recipe(format!("data.set is {:?} but data.root is missing: name the {what}", config.set));
    match config.set.as_str() {
        "emoji" => memory::of_split(emoji::load()?, config, augment, false),
        "folder" => {
            let root = config.root.as_ref().ok_or_else(|| wants_root("folder of class folders"))?;
            // Whoever names what is done to files wants them read as those of a table.
            match config.names_transforms() {
                true => files::of_catalog(image_folder::catalog(root)?, recipe),
                false => memory::of_folder(root, config, augment),
            }
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
        name if texts::NAMES.contains(&name) => texts::open(recipe, data_dir, config.root.as_deref()),
        "" => Err(Error::Recipe("data.set is missing: name a set, e.g. \"emoji\"".to_owned())),
        name if FILES.contains(&name) => files::of_catalog(dml_data::sources::open(name, &data_dir()?)?, recipe),
        other => {
            let known = [&MEMORY[..], &FILES, &texts::NAMES].concat().join(", ");
            Err(Error::Recipe(format!("data.set is {other:?}: use one of {known}")))
        }
    }
}
