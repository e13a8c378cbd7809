//! The data sets a recipe can name.

use crate::recipe::DataConfig;
use crate::{Error, Result};
use dml_data::sources::omniglot::{self, OneShotRun, Part};
use dml_data::sources::{emoji, image_folder};
use dml_data::{ImageSet, Normalize, Split};
use std::path::Path;
use std::sync::Arc;

/// Side of the Omniglot images, as in the few-shot literature.
const OMNIGLOT_SIDE: usize = 28;

/// What a run learns from and is measured on; the parts share no class.
pub struct Sets {
    /// To learn from.
    pub train: Arc<ImageSet>,
    /// To choose and calibrate by.
    pub validation: Option<ImageSet>,
    /// To report.
    pub test: Option<ImageSet>,
    /// Lake's one-shot runs, to report; for Omniglot's background sets.
    pub one_shot: Vec<OneShotRun>,
    /// Brings the training images to mean 0 and deviation 1; used for all parts.
    pub normalize: Normalize,
}

/// Opens the data set of a recipe. Sets that are not embedded are looked for in `data_dir`; default:
/// [`dml_data::data_dir`].
///
/// # Errors
/// When the set is unknown, missing or damaged.
pub fn open(config: &DataConfig, data_dir: Option<&Path>) -> Result<Sets> {
    let data_dir = || data_dir.map_or_else(dml_data::data_dir, |folder| Ok(folder.to_owned()));
    match (config.set.as_str(), &config.root) {
        ("emoji", _) => of_split(emoji::load()?, config, false),
        ("folder", Some(root)) => of_split(image_folder::load(root, config.size)?, config, false),
        ("folder", None) => Err(Error::Recipe(
            "data.set is \"folder\" but data.root is missing: name the folder of class folders".to_owned(),
        )),
        ("omniglot-small1", _) => of_background(&data_dir()?, Part::Small1, config),
        ("omniglot-small2", _) => of_background(&data_dir()?, Part::Small2, config),
        // The published protocol takes rotations as classes in the test too.
        ("omniglot-full", _) => of_split(omniglot::full(&data_dir()?)?, config, true),
        (other, _) => Err(Error::Recipe(format!(
            "data.set is {other:?}: use \"emoji\", \"folder\", \"omniglot-small1\", \"omniglot-small2\" or \"omniglot-full\""
        ))),
    }
}

fn of_split(split: Split, config: &DataConfig, rotate_all: bool) -> Result<Sets> {
    let turn = |set: ImageSet, turned: bool| if turned { set.with_rotations() } else { Ok(set) };
    let train = turn(split.train, config.rotations)?;
    let held_out = config.rotations && rotate_all;
    Ok(Sets {
        normalize: Normalize::measure(&train)?,
        train: Arc::new(train),
        validation: Some(turn(split.validation, held_out)?),
        test: Some(turn(split.test, held_out)?),
        one_shot: Vec::new(),
    })
}

/// A background set, with the alphabets of `hold_out` for validation, and the one-shot runs.
fn of_background(data_dir: &Path, part: Part, config: &DataConfig) -> Result<Sets> {
    let whole = omniglot::background(data_dir, part, OMNIGLOT_SIDE)?;
    let alphabet = |class: &str| class.split('/').next().unwrap_or_default().to_owned();
    if let Some(unknown) = config.hold_out.iter().find(|a| !has_alphabet(&whole, a, alphabet)) {
        return Err(Error::Recipe(format!(
            "data.hold_out names {unknown:?}, which is not an alphabet of {}",
            config.set
        )));
    }
    let (validation, train) = whole.partition_classes(|class| config.hold_out.contains(&alphabet(class)))?;
    let train = if config.rotations { train.with_rotations()? } else { train };
    Ok(Sets {
        normalize: Normalize::measure(&train)?,
        train: Arc::new(train),
        validation: (!config.hold_out.is_empty()).then_some(validation),
        test: None,
        one_shot: omniglot::one_shot_runs(data_dir, OMNIGLOT_SIDE)?,
    })
}

fn has_alphabet(set: &ImageSet, wanted: &str, alphabet: impl Fn(&str) -> String) -> bool {
    use dml_data::Dataset;
    set.class_names().iter().any(|class| alphabet(class) == wanted)
}
