//! miniImageNet with Ravi and Larochelle's split: 64, 16 and 20 classes of ImageNet with 600 images each.
//!
//! Vinyals' older split has other classes; results on the two cannot be compared.

use super::published::Published;
use super::{lists, tar_index};
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result, Span};
use std::path::Path;

/// The archives of the mirror and their parts.
const ARCHIVES: [(&str, &str); 3] =
    [("train64-42px.tar", "train"), ("val16-42px.tar", "validation"), ("test20-42px.tar", "test")];

/// The lists of the split and their parts.
const LISTS: [(&str, &str); 3] = [("train.csv", "train"), ("val.csv", "validation"), ("test.csv", "test")];

/// The images at 42 × 42 from the archives of the manifest, read in place, in the parts `train`, `validation` and `test`.
///
/// # Errors
/// When an archive is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("mini-imagenet")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    set.manifest.verify(data_dir)?;
    set.disjoint(read(&set.folder)?)
}

/// Reads the three archives in `folder`; the counts are not checked. Files lie there as `<class>/<image>.jpg`.
///
/// # Errors
/// When an archive is missing or damaged or holds files that lie otherwise.
pub fn read(folder: &Path) -> Result<Catalog> {
    let mut files = Files::below(folder);
    let archives = ARCHIVES.map(|(file, part)| (folder.join(file), part)).map(|(path, part)| {
        let archive = files.archive(&path);
        (path, archive, part)
    });
    let mut builder = CatalogBuilder::new("mini-imagenet", folder, files);
    for (path, archive, part) in archives {
        tar_index::visit(
            &path,
            |_| false,
            |entry| {
                let Some((class, _)) = entry.name.split_once('/').filter(|(_, image)| !image.contains('/')) else {
                    let problem = format!("`{}` is not <class>/<image>: bring the archive of the manifest", entry.name);
                    return Err(Error::format(&path, problem));
                };
                let span = Some(Span { archive, offset: entry.offset, bytes: entry.bytes });
                builder.add(Membership::new(class, part), FileEntry { path: &entry.name, bounding_box: None, span })
            },
        )?;
    }
    Ok(builder.finish())
}

/// Your own images: `train.csv`, `val.csv` and `test.csv` in `lists` (header `filename,label`, as Ravi's) name them, and
/// they lie as `images/<label>/<filename>`. Counts are those of the manifest; whether the images are there is for
/// [`Catalog::check_files`].
///
/// # Errors
/// When a list is missing, is not as published, has other counts, or a class is in two parts.
pub fn from_lists(images: &Path, lists: &Path) -> Result<Catalog> {
    let mut builder = CatalogBuilder::new("mini-imagenet", lists, Files::below(images));
    for (file, part) in LISTS {
        let path = lists.join(file);
        lists::csv(&path, &lists::text(&path)?, Some(["filename", "label"]), |_, [file, class]| {
            builder.add(Membership::new(class, part), FileEntry::file(&format!("{class}/{file}")))
        })?;
    }
    Published::of(&Manifest::find("mini-imagenet")?, Path::new("")).disjoint(builder.finish())
}
