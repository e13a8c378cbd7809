//! One's own images: a folder with one folder of images per class.
//!
//! `root/<class>/…` is one set, cut by [`SplitRule::default`]. With `root/train`, `root/validation` and `root/test`, each of
//! them full of class folders, those are the parts. Hidden files and files of other endings are passed over.

mod folder_set;

pub use folder_set::FolderSet;

use crate::{
    Catalog, CatalogBuilder, ClassFolds, Dataset, Error, FileEntry, Files, ImageSet, Membership, Result, Split,
    SplitRule,
};
use std::path::{Path, PathBuf};

/// File name endings that are read.
const IMAGES: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "ppm", "pgm", "pbm"];

/// The parts, as folders and as in catalogues.
const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Images under `root` for a pipeline ([`FileImages`](crate::FileImages)), in the parts `train`, `validation` and `test`; none is
/// read.
///
/// # Errors
/// When a folder cannot be read, a class has no image, parts share a class, or a name holds what means something else on another
/// system: `:` or `\`.
pub fn catalog(root: &Path) -> Result<Catalog> {
    let parts = parts(root, 1)?;
    let mut builder = CatalogBuilder::new(name(root), root, Files::below(root));
    let mut classes: Vec<&String> = parts.iter().flat_map(|part| part.class_names()).collect();
    classes.sort();
    classes.into_iter().for_each(|class| _ = builder.class(class));
    for (part, set) in PARTS.iter().zip(&parts) {
        for (index, &label) in set.labels().iter().enumerate() {
            let membership = Membership::new(&set.class_names()[label as usize], part);
            builder.add(membership, FileEntry::file(&set.id(index)))?;
        }
    }
    Ok(builder.finish())
}

/// Images under `root` for training, validation and test, each brought to `size` × `size` RGB (the largest centred square, scaled)
/// whenever it is asked for.
///
/// # Errors
/// When a folder cannot be read, a class has no image, or parts share a class.
pub fn parts(root: &Path, size: usize) -> Result<[FolderSet; 3]> {
    let given = PARTS.map(|part| root.join(part).is_dir());
    if given == [false; 3] {
        let whole = listed(root, "", size)?;
        let classes = SplitRule::default().classes(whole.class_names())?;
        let dealt = [classes.train, classes.validation, classes.test];
        let part = |at: usize| whole.of_classes(&dealt[at]).renamed(format!("{}/{}", whole.name(), PARTS[at]));
        return Ok([0, 1, 2].map(part));
    }
    if let Some(lacking) = given.iter().position(|there| !there) {
        let problem =
            "has some of train, validation and test, but not all: add it, or lay the class folders side by side";
        return Err(Error::format(&root.join(PARTS[lacking]), problem));
    }
    let [train, validation, test] = PARTS.map(|part| listed(&root.join(part), &format!("{part}/"), size));
    let parts = [train?, validation?, test?];
    disjoint(root, &parts)?;
    Ok(parts)
}

/// The same parts; the classes of training and validation are dealt to these two anew, as by [`Split::with_fold`].
///
/// # Errors
/// As [`ClassFolds::held_out`].
pub fn with_fold([train, validation, test]: [FolderSet; 3], folds: &ClassFolds, fold: usize) -> Result<[FolderSet; 3]> {
    let whole = train.joined(&validation);
    let [others, held_out] = folds.dealt(whole.class_names(), fold)?.map(|classes| whole.of_classes(&classes));
    Ok([others.renamed(train.name()), held_out.renamed(validation.name()), test])
}

/// [`parts`], in memory.
///
/// # Errors
/// As there, and when an image is broken.
pub fn load(root: &Path, size: usize) -> Result<Split> {
    let [train, validation, test] = parts(root, size)?.map(|part| part.in_memory());
    Ok(Split { train: train?, validation: validation?, test: test? })
}

/// All classes under `root` in memory, in the order of their names; an image is called by its path below `root`.
///
/// # Errors
/// As [`load`].
pub fn set(root: &Path, size: usize) -> Result<ImageSet> {
    listed(root, "", size)?.in_memory()
}

/// All classes under `root`; `above` stands before the path of each image in its id.
fn listed(root: &Path, above: &str, size: usize) -> Result<FolderSet> {
    let mut set = FolderSet::empty(name(root), size);
    for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        let images: Vec<PathBuf> = entries(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        if images.is_empty() {
            return Err(Error::format(
                &folder,
                format!("a class without images ({}): add some or remove the folder", IMAGES.join(", ")),
            ));
        }
        let class = name(&folder);
        let images = images.into_iter().map(|path| (format!("{above}{class}/{}", name(&path)), path));
        set.add(&class, images);
    }
    if set.is_empty() {
        return Err(Error::format(root, "has no class folders: lay images out as <root>/<class>/<image>"));
    }
    Ok(set)
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

fn disjoint(root: &Path, parts: &[FolderSet; 3]) -> Result<()> {
    let mut owner = std::collections::HashMap::new();
    for (part, set) in PARTS.iter().zip(parts) {
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
