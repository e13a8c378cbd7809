//! Where images come from: one data set, one file.

mod archive;
pub mod emoji;
pub mod idx;
pub mod image_folder;
pub mod omniglot;
