//! Cars-196: 16,185 photographs of 196 models of cars (Krause et al. 2013).
//!
//! Metric learning trains on the first 98 classes of all images, whichever half of the classification split they are in,
//! and is tested on the others. Images are not cropped: the box of the car is there for whoever asks
//! ([`Catalog::cut_to_boxes`]).

use super::mat5::{self, Array};
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::path::Path;

/// The number of the first class that is for the test.
const FIRST_TEST_CLASS: usize = 99;

/// The images, classes 1 to 98 in `train` and 99 to 196 in `test`.
///
/// # Errors
/// When the annotations or the unpacked images are missing below `data_dir` or have other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("cars-196")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    let root = set.tree("cars_annos.mat", &[])?;
    set.tree("car_ims", &[])?;
    set.disjoint(read(&root)?)
}

/// The images by the split of the annotations in `root`: every class is in `train` and in `test`.
///
/// # Errors
/// As [`read`].
pub fn classification(root: &Path) -> Result<Catalog> {
    read_as(root, |_, test| if test { "test" } else { "train" })
}

/// Reads `cars_annos.mat` in `root` for metric learning; images lie in `root/car_ims`. The counts are not checked.
///
/// # Errors
/// When the annotations are missing or are not as published.
pub fn read(root: &Path) -> Result<Catalog> {
    read_as(root, |class, _| if class < FIRST_TEST_CLASS { "train" } else { "test" })
}

/// `part` says where an image of a class, and of the test half or not, belongs.
fn read_as(root: &Path, part: impl Fn(usize, bool) -> &'static str) -> Result<Catalog> {
    let path = root.join("cars_annos.mat");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let variables = mat5::read(&path, &bytes)?;
    let wrong = |problem: String| Error::format(&path, format!("{problem}: bring the file anew"));
    let variable = |name: &str| {
        let found = variables.iter().find(|(variable, _)| variable == name).map(|(_, array)| array);
        found.ok_or_else(|| wrong(format!("has no variable {name}")))
    };
    let (Array::Structures(annotations), Array::Cells(names)) = (variable("annotations")?, variable("class_names")?)
    else {
        return Err(wrong("annotations are no structures or class_names no cells".into()));
    };
    let column = |name: &str| {
        let found = annotations.iter().find(|(field, _)| field == name).map(|(_, values)| values.as_slice());
        found.ok_or_else(|| wrong(format!("annotations have no field {name}")))
    };
    let number = |name: &str, row: usize| match column(name)?.get(row) {
        Some(Array::Numbers(values)) if values.first().is_some_and(|value| value.is_finite()) => Ok(values[0]),
        _ => Err(wrong(format!("{name} of image {} is no number", row + 1))),
    };
    let mut builder = CatalogBuilder::new("cars-196", &path, Files::below(root));
    let names = names
        .iter()
        .map(|name| match name {
            Array::Text(name) if !name.is_empty() => Ok(name.as_str()),
            _ => Err(wrong("a class name is no text".into())),
        })
        .collect::<Result<Vec<_>>>()?;
    names.iter().for_each(|name| _ = builder.class(name));
    for (row, image) in column("relative_im_path")?.iter().enumerate() {
        let Array::Text(image) = image else {
            return Err(wrong(format!("the path of image {} is no text", row + 1)));
        };
        let class = number("class", row)?;
        let named = (class >= 1.0).then(|| names.get(class as usize - 1)).flatten();
        let name = named.ok_or_else(|| wrong(format!("{image} is of class {class}, of {}", names.len())))?;
        let [left, top, right, bottom] =
            ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"].map(|corner| number(corner, row).map(|value| value as f32));
        let (left, top) = (left?, top?);
        // MATLAB counts pixels from 1, and the right and bottom ones belong to the box.
        let bounds = [left - 1.0, top - 1.0, right? - left + 1.0, bottom? - top + 1.0];
        let entry = FileEntry { bounding_box: Some(bounds), ..FileEntry::file(image) };
        builder.add(Membership::new(name, part(class as usize, number("test", row)? != 0.0)), entry)?;
    }
    Ok(builder.finish().cut_to_boxes(false))
}
