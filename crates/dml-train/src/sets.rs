//! The data sets a recipe can name.

use crate::recipe::DataConfig;
use crate::{Error, Result};
use dml_data::{ImageSet, Normalize, Split, sources};
use std::path::Path;
use std::sync::Arc;

/// What a run learns from and is measured on; the three share no class.
pub struct Sets {
    /// To learn from.
    pub train: Arc<ImageSet>,
    /// To choose and calibrate by.
    pub validation: ImageSet,
    /// To report.
    pub test: ImageSet,
    /// Brings the training images to mean 0 and deviation 1; used for all three.
    pub normalize: Normalize,
}

/// Opens the data set of a recipe. Sets that are not embedded are looked for in `data_dir`.
///
/// # Errors
/// When the set is unknown, missing or damaged.
pub fn open(config: &DataConfig, _data_dir: Option<&Path>) -> Result<Sets> {
    let split: Split = match (config.set.as_str(), &config.root) {
        ("emoji", _) => sources::emoji::load()?,
        ("folder", Some(root)) => sources::image_folder::load(root, config.size)?,
        ("folder", None) => {
            return Err(Error::Recipe("data.set is \"folder\" but data.root is missing: name the folder of class folders".to_owned()));
        }
        (other, _) => {
            return Err(Error::Recipe(format!("data.set is {other:?}: use \"emoji\" or \"folder\"")));
        }
    };
    let train = if config.rotations { split.train.with_rotations()? } else { split.train };
    let normalize = Normalize::measure(&train)?;
    Ok(Sets { train: Arc::new(train), validation: split.validation, test: split.test, normalize })
}
