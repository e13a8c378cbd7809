//! A few pictures of many sizes on disk, and what is done to them.
#![allow(dead_code, reason = "each test file takes what it needs")]

use dml_data::image::{CenterCrop, Extent, HorizontalFlip, Pipeline, RandomResizedCrop, Resize, Size, Step};
use dml_data::{Catalog, CatalogBuilder, FileEntry, Files, Membership};
use std::path::Path;

/// Six classes of four JPEG or PNG files, each of another size; the second half of each has a box.
pub(crate) fn catalog(root: &Path) -> Catalog {
    let mut builder = CatalogBuilder::new("toy", root, Files::below(root));
    for sample in 0..24u32 {
        let (class, number) = (sample % 6, sample / 6);
        let (width, height) = (40 + 3 * sample, 30 + 5 * number);
        let value = |x: u32, y: u32| [(x * 5) as u8, (y * 7) as u8, (sample * 10) as u8];
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(value(x, y)));
        let name = format!("c{class}/{number}.{}", if number % 2 == 0 { "jpg" } else { "png" });
        std::fs::create_dir_all(root.join(format!("c{class}"))).unwrap();
        // Once: what is written anew is another file to a cache.
        if !root.join(&name).exists() {
            picture.save(root.join(&name)).unwrap();
        }
        let bounding_box = (number >= 2).then_some([10.0, 5.5, 24.0, 20.0]);
        let class = format!("c{class}");
        let entry = FileEntry { bounding_box, ..FileEntry::file(&name) };
        builder.add(Membership::new(&class, "train"), entry).unwrap();
    }
    builder.finish()
}

pub(crate) fn still() -> Pipeline {
    let center = CenterCrop::from(Extent::Square(16));
    Pipeline { steps: vec![Step::Resize(Resize::from(Size::Shorter(18))), Step::CenterCrop(center)] }
}

pub(crate) fn moving() -> Pipeline {
    let crop = RandomResizedCrop::from(Extent::Square(16));
    Pipeline { steps: vec![Step::RandomResizedCrop(crop), Step::HorizontalFlip(HorizontalFlip::from(0.5))] }
}
