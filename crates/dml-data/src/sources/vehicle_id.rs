//! PKU VehicleID: 221,763 photographs of 26,267 cars by cameras in a city (Liu et al. 2016); by request to its owners.
//!
//! Three tests of 800, 1,600 and 2,400 cars. One image of each car is drawn for the gallery, the others ask: the draw
//! matters, so report the mean over ten seeds or more.

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// Which of the three tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestSize {
    /// 800 cars.
    Small,
    /// 1,600 cars.
    Medium,
    /// 2,400 cars.
    Large,
}

impl TestSize {
    fn part(self) -> &'static str {
        match self {
            Self::Small => "test-800",
            Self::Medium => "test-1600",
            Self::Large => "test-2400",
        }
    }
}

/// The images in the parts `train` and `test-800` (or `test-1600`, `test-2400`); [`Catalog::part`] also knows `query` and
/// `gallery`. Of each test car the image with the least SHA-256 of `<seed as 8 little-endian bytes><path>` is the gallery.
///
/// # Errors
/// When the lists are missing below `data_dir` or have other counts.
pub fn open(data_dir: &Path, size: TestSize, seed: u64) -> Result<Catalog> {
    open_as(&Manifest::find("vehicle-id")?, data_dir, size, seed)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path, size: TestSize, seed: u64) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    let root = set.tree("train_test_split", &["VehicleID_V1.0", "VehicleID_V1.0/VehicleID_V1.0"])?;
    let catalog = read(&root, size, seed)?;
    // Of the tests only the chosen one is there.
    let mut expected = set.manifest.expected.clone();
    expected.retain(|part, _| !part.starts_with("test-") || part == size.part());
    catalog.check_counts(&expected)?;
    catalog.check_disjoint()?;
    Ok(catalog)
}

/// Reads the lists in `root/train_test_split`; images lie in `root/image`. The counts are not checked.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn read(root: &Path, size: TestSize, seed: u64) -> Result<Catalog> {
    let mut builder = CatalogBuilder::new("vehicle-id", root, Files::below(root.join("image")));
    let path = root.join("train_test_split/train_list.txt");
    for (image, car) in list(&path, &lists::text(&path)?)? {
        builder.add(Membership::new(car, "train"), FileEntry::file(&image))?;
    }
    let path = root.join(format!("train_test_split/{}.txt", size.part().replace("test-", "test_list_")));
    let text = lists::text(&path)?;
    let images = list(&path, &text)?;
    let mut gallery: HashMap<&str, ([u8; 32], usize)> = HashMap::new();
    for (i, (image, car)) in images.iter().enumerate() {
        let drawn: ([u8; 32], usize) =
            (Sha256::new().chain_update(seed.to_le_bytes()).chain_update(image).finalize().into(), i);
        gallery.entry(car).and_modify(|least| *least = drawn.min(*least)).or_insert(drawn);
    }
    for (i, (image, car)) in images.iter().enumerate() {
        let is_gallery = gallery.get(car).is_some_and(|(_, chosen)| *chosen == i);
        let membership = Membership { is_query: !is_gallery, is_gallery, ..Membership::new(car, size.part()) };
        builder.add(membership, FileEntry::file(image))?;
    }
    Ok(builder.finish().with_roles_of(size.part()))
}

/// `0000123 45` to the file `0000123.jpg` of car `45`.
fn list<'a>(path: &'a Path, text: &'a str) -> Result<Vec<(String, &'a str)>> {
    lists::fields::<2>(path, text, "<image> <car>")
        .map(|row| {
            let [image, car] = row?;
            let number: u32 = image.parse().map_err(|_| {
                Error::format(
                    path,
                    format!("`{}` is not the number of an image: bring the list anew", lists::shown(image)),
                )
            })?;
            Ok((format!("{number:07}.jpg"), car))
        })
        .collect()
}
