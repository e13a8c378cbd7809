//! Where images and texts come from: one data set, one file.
//!
//! Sets for metric learning share no class between their parts. Where the owners publish a split for classification only,
//! `open` deals the classes anew and `classification` gives theirs.

mod archive;
pub mod att_faces;
pub mod banking77;
pub mod cars;
pub mod clinc150;
pub mod cub;
pub mod emoji;
pub mod emoji_names;
pub mod fashion_mnist;
pub mod idx;
pub mod image_folder;
pub mod in_shop;
pub mod inaturalist;
pub mod lfw;
mod lists;
mod mat5;
pub mod mini_imagenet;
pub mod mnist;
pub mod omniglot;
pub mod own_texts;
mod published;
pub mod sop;
pub mod stsb;
pub mod synthetic;
pub mod table;
mod tar_index;
pub mod tar_shards;
pub mod vehicle_id;

use crate::{Catalog, Error, Result};
use std::path::Path;

/// The published set of image files called `name` (as its manifest), for metric learning: no class is in two parts.
///
/// `vehicle-id` is opened with the test of 800 cars and seed 0; [`vehicle_id::open`] has the others. Sets in memory
/// ([`emoji`], [`omniglot`], [`mnist`], [`fashion_mnist`]) and texts have functions of their own.
///
/// # Errors
/// When there is no such set, its files are missing below `data_dir`, or they have other counts than its manifest.
pub fn open(name: &str, data_dir: &Path) -> Result<Catalog> {
    match name {
        "att-faces" => att_faces::open(data_dir),
        "cars-196" => cars::open(data_dir),
        "cub-200-2011" => cub::open(data_dir),
        "in-shop" => in_shop::open(data_dir),
        "inaturalist-2018" => inaturalist::open(data_dir),
        "lfw" => lfw::open(data_dir),
        "mini-imagenet" => mini_imagenet::open(data_dir),
        "stanford-online-products" => sop::open(data_dir),
        "vehicle-id" => vehicle_id::open(data_dir, vehicle_id::TestSize::Small, 0),
        _ => Err(Error::Invalid(format!(
            "no set of image files is called `{name}`: use one of att-faces, cars-196, cub-200-2011, in-shop, \
             inaturalist-2018, lfw, mini-imagenet, stanford-online-products, vehicle-id"
        ))),
    }
}
