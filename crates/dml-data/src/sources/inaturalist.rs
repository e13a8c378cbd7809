//! iNaturalist 2018 with the split of Smooth-AP (Brown et al. 2020): 8,142 species, 5,690 of them for training.
//!
//! A class is a species (`Insecta/1456`), groups are the super-categories (`Insecta`).

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::path::Path;

/// The lists of Smooth-AP and their parts.
const LISTS: [(&str, &str); 2] = [("Inaturalist_train_set1.txt", "train"), ("Inaturalist_test_set1.txt", "test")];
/// Where they may lie below the root.
const PLACES: [&str; 2] = ["", "Inat_dataset_splits"];

/// The images in the parts `train` and `test`, which share no class.
///
/// # Errors
/// When a list is missing below `data_dir` or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("inaturalist-2018")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    if lists::find(&set.folder, &PLACES, LISTS[0].0).is_none() {
        set.tree(LISTS[0].0, &[])?;
    }
    set.disjoint(read(&set.folder)?)
}

/// Reads the lists in `root` or `root/Inat_dataset_splits`; images lie below `root` as `train_val2018/…`. The counts are
/// not checked.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn read(root: &Path) -> Result<Catalog> {
    let mut builder = CatalogBuilder::new("inaturalist-2018", root, Files::below(root));
    for (file, part) in LISTS {
        let missing = || Error::Missing { path: root.join(file), mend: "bring it from Smooth-AP's authors".into() };
        let list = lists::find(root, &PLACES, file).ok_or_else(missing)?;
        for (number, line) in lists::text(&list)?.lines().map(str::trim).enumerate() {
            if line.is_empty() {
                continue;
            }
            let wrong = || {
                let problem =
                    format!("line {}: `{}` is not `…/<group>/<class>/<image>`", number + 1, lists::shown(line));
                Error::format(&list, problem)
            };
            let (folder, _) = line.rsplit_once('/').ok_or_else(wrong)?;
            let (above, _) = folder.rsplit_once('/').ok_or_else(wrong)?;
            let group = above.rsplit_once('/').map_or(above, |(_, group)| group);
            let class = &folder[above.len() - group.len()..];
            let membership = Membership { group: Some(group), ..Membership::new(class, part) };
            builder.add(membership, FileEntry::file(line))?;
        }
    }
    Ok(builder.finish())
}
