//! Banking77: what customers of a bank ask, in 77 intents (Casanueva et al. 2020).

use super::lists;
use super::published::Published;
use crate::{CatalogBuilder, Manifest, Membership, Result, Strings, Texts};
use std::path::Path;

/// The set for metric learning: all queries, the intents dealt to train, validation and test by the manifest's rule, so
/// that no intent is in two parts.
///
/// # Errors
/// When a file is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<Texts> {
    open_as(&Manifest::find("banking77")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Texts> {
    let set = Published::of(manifest, data_dir);
    set.dealt(published(&set, data_dir)?)
}

/// The split that is published, for classification: every intent is in `train` and in `test`.
///
/// # Errors
/// As [`open`].
pub fn classification(data_dir: &Path) -> Result<Texts> {
    let manifest = Manifest::find("banking77")?;
    let set = Published::of(&manifest, data_dir);
    set.counted(published(&set, data_dir)?)
}

fn published(set: &Published<'_>, data_dir: &Path) -> Result<Texts> {
    set.manifest.verify(data_dir)?;
    read(&set.folder)
}

/// Reads `train.csv` and `test.csv` in `folder`; the counts are not checked.
///
/// # Errors
/// When a file is missing or is not as published.
pub fn read(folder: &Path) -> Result<Texts> {
    let mut builder = CatalogBuilder::new("banking77", folder, Strings::default());
    for part in ["train", "test"] {
        let path = folder.join(format!("{part}.csv"));
        lists::csv(&path, &lists::text(&path)?, Some(["text", "category"]), |_, [text, intent]| {
            builder.add(Membership::new(intent, part), text)
        })?;
    }
    Ok(builder.finish())
}
