//! Fashion-MNIST: 70,000 pictures of ten kinds of clothes, 28 × 28 grey (Xiao et al. 2017).

use super::mnist;
use super::published::Published;
use crate::{ImageSet, Manifest, Result, Split};
use std::path::Path;

/// The kinds of clothes, in the order of their labels.
const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The set for metric learning: all 70,000 images, the ten kinds dealt to train, validation and test by the manifest's
/// rule, so that no kind is in two parts.
///
/// # Errors
/// When a file is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<Split> {
    open_as(&Manifest::find("fashion-mnist")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Split> {
    let set = Published::of(manifest, data_dir);
    mnist::dealt(manifest, mnist::counted(&set, data_dir, read)?)
}

/// The split that is published, for classification: 60,000 images to train and 10,000 to test, of the same ten kinds.
///
/// # Errors
/// As [`open`].
pub fn classification(data_dir: &Path) -> Result<(ImageSet, ImageSet)> {
    mnist::counted(&Published::of(&Manifest::find("fashion-mnist")?, data_dir), data_dir, read)
}

/// Reads the four idx files in `folder`, training half first, also those of Debian's package; the counts are not checked.
///
/// # Errors
/// When a file is missing or is not as published.
pub fn read(folder: &Path) -> Result<(ImageSet, ImageSet)> {
    mnist::halves("fashion-mnist", folder, Some(&CLASSES))
}
