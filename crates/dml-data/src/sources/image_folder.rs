//! One's own images: a folder with one folder of images per class.

use crate::image::{decode, fit_square};
use crate::{Error, ImageSet, Result, Split, SplitRule};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// File name endings that are read.
const IMAGES: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "ppm", "pgm", "pbm"];

/// Images under `root`, brought to `size` × `size` RGB (the largest centred square, scaled).
///
/// `root/<class>/…` is read as one set and cut by [`SplitRule::default`]. With `root/train`, `root/validation` and
/// `root/test`, each of them full of class folders, those are the parts. Hidden files and other endings are passed over.
///
/// # Errors
/// When a folder cannot be read, a class has no image, an image is broken, or parts share a class.
pub fn load(root: &Path, size: usize) -> Result<Split> {
    const PARTS: [&str; 3] = ["train", "validation", "test"];
    let given = PARTS.map(|part| root.join(part).is_dir());
    if given == [false; 3] {
        return SplitRule::default().split(&set(root, size)?);
    }
    if let Some(lacking) = given.iter().position(|there| !there) {
        let problem =
            "has some of train, validation and test, but not all: add it, or lay the class folders side by side";
        return Err(Error::format(&root.join(PARTS[lacking]), problem));
    }
    let [train, validation, test] = PARTS.map(|part| named(&root.join(part), &format!("{part}/"), size));
    let split = Split { train: train?, validation: validation?, test: test? };
    disjoint(root, &split)?;
    Ok(split)
}

/// All classes under `root`, in the order of their names; an image is called by its path below `root`.
///
/// # Errors
/// As [`load`].
pub fn set(root: &Path, size: usize) -> Result<ImageSet> {
    named(root, "", size)
}

/// All classes under `root`; `above` stands before the path of each image in its id.
fn named(root: &Path, above: &str, size: usize) -> Result<ImageSet> {
    let (mut names, mut files) = (vec![], vec![]);
    for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        let images: Vec<PathBuf> = entries(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        if images.is_empty() {
            return Err(Error::format(
                &folder,
                format!("a class without images ({}): add some or remove the folder", IMAGES.join(", ")),
            ));
        }
        files.extend(images.into_iter().map(|path| (path, names.len() as u32)));
        names.push(name(&folder));
    }
    if names.is_empty() {
        return Err(Error::format(root, "has no class folders: lay images out as <root>/<class>/<image>"));
    }
    let images = files
        .par_iter()
        .map(|(path, _)| fit_square(&decode(path, &std::fs::read(path).map_err(Error::io(path))?, 3)?, size))
        .collect::<Result<Vec<_>>>()?;
    let labels = files.iter().map(|(_, class)| *class).collect();
    let id = |(path, class): &(PathBuf, u32)| format!("{above}{}/{}", names[*class as usize], name(path));
    let ids = files.iter().map(id).collect();
    ImageSet::new(name(root), [3, size, size], images, labels, names)?.with_ids(ids)
}

/// What is not hidden in `folder`, sorted, so that the order does not depend on the disk.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = list().map_err(Error::io(folder))?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "images".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|ending| is_image_ending(&ending.to_string_lossy()))
}

/// Whether a file with this name ending is read as an image, in either case.
pub(super) fn is_image_ending(ending: &str) -> bool {
    IMAGES.contains(&ending.to_lowercase().as_str())
}

fn disjoint(root: &Path, split: &Split) -> Result<()> {
    use crate::Dataset;
    let mut owner = std::collections::HashMap::new();
    for (part, set) in [("train", &split.train), ("validation", &split.validation), ("test", &split.test)] {
        for class in set.class_names() {
            if let Some(other) = owner.insert(class, part) {
                let problem = format!(
                    "class {class} is in {other} and in {part}: a class belongs to one part, or the test is not of unseen classes"
                );
                return Err(Error::format(root, problem));
            }
        }
    }
    Ok(())
}
