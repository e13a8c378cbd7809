//! CUB-200-2011: 11,788 photographs of 200 kinds of birds (Wah et al. 2011).
//!
//! Metric learning trains on the first hundred classes and is tested on the others; `train_test_split.txt`, which cuts
//! every class in two, is for classification. Images are not cropped: the box of the bird is there for whoever asks
//! ([`Catalog::cut_to_boxes`]).

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::collections::HashMap;
use std::path::Path;

/// The number of the first class that is for the test.
const FIRST_TEST_CLASS: u32 = 101;

/// The images, classes 1 to 100 in `train` and 101 to 200 in `test`.
///
/// # Errors
/// When the unpacked archive is missing below `data_dir` or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("cub-200-2011")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    set.disjoint(read(&set.tree("images.txt", &["CUB_200_2011", "CUB_200_2011/CUB_200_2011"])?)?)
}

/// The images by `train_test_split.txt` in `root`: every class is in `train` and in `test`.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn classification(root: &Path) -> Result<Catalog> {
    let path = root.join("train_test_split.txt");
    let text = lists::text(&path)?;
    let rows = lists::fields::<2>(&path, &text, "<image> <1: train, 0: test>");
    let train: HashMap<u32, bool> = rows
        .map(|row| {
            let [image, train] = row?;
            Ok((number(&path, image)?, train == "1"))
        })
        .collect::<Result<_>>()?;
    read_as(root, |image, _| if train.get(&image) == Some(&true) { "train" } else { "test" })
}

/// Reads the lists in `root` (the folder of `images.txt`) for metric learning; the counts are not checked.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn read(root: &Path) -> Result<Catalog> {
    read_as(root, |_, class| if class < FIRST_TEST_CLASS { "train" } else { "test" })
}

/// `part` says where an image of a class belongs.
fn read_as(root: &Path, part: impl Fn(u32, u32) -> &'static str) -> Result<Catalog> {
    let [names_path, images_path, labels_path, boxes_path] =
        ["classes.txt", "images.txt", "image_class_labels.txt", "bounding_boxes.txt"].map(|file| root.join(file));
    let mut builder = CatalogBuilder::new("cub-200-2011", root, Files::below(root.join("images")));
    let names = lists::text(&names_path)?;
    let mut classes = HashMap::new();
    for row in lists::fields::<2>(&names_path, &names, "<class> <name>") {
        let [class, name] = row?;
        classes.insert(number(&names_path, class)?, name);
        builder.class(name);
    }
    let (images, labels, boxes) = (lists::text(&images_path)?, lists::text(&labels_path)?, lists::text(&boxes_path)?);
    let mut labels = lists::fields::<2>(&labels_path, &labels, "<image> <class>");
    let mut boxes = lists::fields::<5>(&boxes_path, &boxes, "<image> <x> <y> <width> <height>");
    for row in lists::fields::<2>(&images_path, &images, "<image> <path>") {
        let [image, path] = row?;
        let lacks = |list: &Path| Error::format(list, format!("lacks image {image}: bring the archive anew"));
        let [of_label, class] = labels.next().ok_or_else(|| lacks(&labels_path))??;
        let [of_box, bounds @ ..] = boxes.next().ok_or_else(|| lacks(&boxes_path))??;
        for (list, of) in [(&labels_path, of_label), (&boxes_path, of_box)] {
            if of != image {
                let problem = format!("has image {of} where images.txt has {image}: bring the archive anew");
                return Err(Error::format(list, problem));
            }
        }
        let class = number(&labels_path, class)?;
        let name = classes
            .get(&class)
            .ok_or_else(|| Error::format(&labels_path, format!("image {image} is of class {class}, without a name")))?;
        let bounds = lists::numbers(&boxes_path, bounds)?;
        let entry = FileEntry { bounding_box: Some(bounds), ..FileEntry::file(path) };
        builder.add(Membership::new(name, part(number(&images_path, image)?, class)), entry)?;
    }
    Ok(builder.finish().cut_to_boxes(false))
}

fn number(path: &Path, text: &str) -> Result<u32> {
    text.parse()
        .map_err(|_| Error::format(path, format!("`{}` is not a number: bring the archive anew", lists::shown(text))))
}
