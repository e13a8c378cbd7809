//! Where images come from: one data set, one file.

pub mod emoji;
pub mod image_folder;
