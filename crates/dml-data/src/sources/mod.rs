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
mod published;
pub mod sop;
pub mod stsb;
pub mod synthetic;
pub mod table;
mod tar_index;
pub mod tar_shards;
pub mod vehicle_id;
