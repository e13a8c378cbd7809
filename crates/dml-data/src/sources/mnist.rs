//! MNIST: 70,000 handwritten digits, 28 × 28 grey (LeCun et al. 1998).

use super::idx;
use super::published::Published;
use crate::{Dataset, Error, ImageSet, Manifest, Result, Split};
use std::path::Path;

/// The set for metric learning: all 70,000 images, the ten digits dealt to train, validation and test by the manifest's
/// rule, so that no digit is in two parts.
///
/// # Errors
/// When a file is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<Split> {
    open_as(&Manifest::find("mnist")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Split> {
    let set = Published::of(manifest, data_dir);
    dealt(manifest, counted(&set, data_dir, read)?)
}

/// The split that is published, for classification: 60,000 images to train and 10,000 to test, of the same ten digits.
///
/// # Errors
/// As [`open`].
pub fn classification(data_dir: &Path) -> Result<(ImageSet, ImageSet)> {
    counted(&Published::of(&Manifest::find("mnist")?, data_dir), data_dir, read)
}

/// Reads the four idx files in `folder`, training half first; the counts are not checked.
///
/// # Errors
/// When a file is missing or is not as published.
pub fn read(folder: &Path) -> Result<(ImageSet, ImageSet)> {
    halves("mnist", folder, None)
}

/// The classes of both halves dealt by the manifest's rule.
pub(super) fn dealt(manifest: &Manifest, (train, test): (ImageSet, ImageSet)) -> Result<Split> {
    let pixels = [&train, &test].map(|half| (0..half.len()).flat_map(|i| half.pixels(i)).copied().collect::<Vec<_>>());
    let labels = [train.labels(), test.labels()].concat();
    let names = train.class_names().to_vec();
    let whole = ImageSet::from_pixels(manifest.name.as_str(), train.shape(), pixels.concat(), labels, names)?;
    manifest.split.unwrap_or_default().split(&whole)
}

/// What `read` gives, if files and counts are those of the manifest.
pub(super) fn counted(
    set: &Published<'_>,
    data_dir: &Path,
    read: impl Fn(&Path) -> Result<(ImageSet, ImageSet)>,
) -> Result<(ImageSet, ImageSet)> {
    set.manifest.verify(data_dir)?;
    let halves = read(&set.folder)?;
    for (part, half) in [("train", &halves.0), ("test", &halves.1)] {
        let mut counts = vec![0; half.class_names().len()];
        half.labels().iter().for_each(|&label| counts[label as usize] += 1);
        let expected = set.manifest.expected.get(part).copied().unwrap_or_default();
        if let Some(problem) = expected.problem(part, &counts, half.class_names(), None) {
            return Err(Error::format(&set.folder, problem));
        }
    }
    Ok(halves)
}

/// The training and the test half of the idx files in `folder`.
pub(super) fn halves(name: &str, folder: &Path, class_names: Option<&[&str]>) -> Result<(ImageSet, ImageSet)> {
    let half = |part: &str, file: &str| {
        let [images, labels] = [format!("{file}-images-idx3-ubyte.gz"), format!("{file}-labels-idx1-ubyte.gz")]
            .map(|file| folder.join(file))
            .map(|path| std::fs::read(&path).map_err(Error::io(&path)).map(|bytes| (path.clone(), bytes)));
        let (images, labels) = (images?, labels?);
        let names = class_names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        idx::image_set(&format!("{name}/{part}"), (&images.0, &images.1), (&labels.0, &labels.1), names)
    };
    Ok((half("train", "train")?, half("test", "t10k")?))
}
