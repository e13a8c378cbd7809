//! Stanford Online Products: 120,053 photographs of 22,634 things for sale, 2 to 12 of each (Song et al. 2016).
//!
//! Groups are the twelve super-classes, named as their folders (`bicycle_final`).

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::path::Path;

/// The images in the parts `train` and `test`, which share no class.
///
/// # Errors
/// When the unpacked archive is missing below `data_dir` or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("stanford-online-products")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    let folder = "Stanford_Online_Products";
    set.disjoint(read(&set.tree("Ebay_train.txt", &[folder, &format!("{folder}/{folder}")])?)?)
}

/// Reads `Ebay_train.txt` and `Ebay_test.txt` in `root`; the counts are not checked.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn read(root: &Path) -> Result<Catalog> {
    const HEADER: [&str; 4] = ["image_id", "class_id", "super_class_id", "path"];
    let mut builder = CatalogBuilder::new("stanford-online-products", root, Files::below(root));
    for (file, part) in [("Ebay_train.txt", "train"), ("Ebay_test.txt", "test")] {
        let list = root.join(file);
        let text = lists::text(&list)?;
        let mut rows = lists::fields::<4>(&list, &text, "<image> <class> <super-class> <path>");
        if rows.next().transpose()? != Some(HEADER) {
            return Err(Error::format(&list, format!("its header is not `{}`", HEADER.join(" "))));
        }
        for row in rows {
            let [_, class, _, path] = row?;
            let group = path.split_once('/').map(|(folder, _)| folder);
            builder.add(Membership { group, ..Membership::new(class, part) }, FileEntry::file(path))?;
        }
    }
    Ok(builder.finish())
}
