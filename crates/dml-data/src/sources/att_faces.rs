//! The Database of Faces of AT&T Laboratories Cambridge ("ORL"): 40 people, ten photographs each, 92 × 112 grey.
//!
//! Credit is to be given to Olivetti Research Laboratory. Small and easy: a check of code for verification and open-set
//! recognition, not a result.

use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::path::Path;

/// The photographs, the people dealt to train, validation and test by the manifest's rule.
///
/// # Errors
/// When the unpacked archive is missing below `data_dir` or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("att-faces")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    set.dealt(read(&set.tree("s1", &["att_faces", "att_faces/att_faces", "att_faces/orl_faces"])?)?)
}

/// Reads the folders `s1`, `s2`, … in `root`, each with the files `1.pgm`, `2.pgm`, …; all are in the part `all`. The
/// counts are not checked.
///
/// # Errors
/// When a folder cannot be read.
pub fn read(root: &Path) -> Result<Catalog> {
    let mut builder = CatalogBuilder::new("att-faces", root, Files::below(root));
    for person in numbered(root, "s", "")? {
        for image in numbered(&root.join(format!("s{person}")), "", ".pgm")? {
            let path = format!("s{person}/{image}.pgm");
            builder.add(Membership::new(&format!("s{person}"), "all"), FileEntry::file(&path))?;
        }
    }
    Ok(builder.finish())
}

/// The numbers `n` of the entries `<before><n><after>` of `folder`, ascending.
fn numbered(folder: &Path, before: &str, after: &str) -> Result<Vec<u32>> {
    let mut numbers = vec![];
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(before)?.strip_suffix(after));
        // `s01` would be another folder than the `s1` that is looked for.
        numbers.extend(number.and_then(|text| text.parse().ok().filter(|number: &u32| number.to_string() == text)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
