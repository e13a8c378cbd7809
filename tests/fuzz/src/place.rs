//! What targets share: what one is, and files for readers that take a path.

use dml_data::image::{Decoder, Pipeline};
use dml_data::{CatalogBuilder, FileEntry, FileImages, Files, Membership, Normalize};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

thread_local! {
    /// One folder a process: making one for every input would take most of the time.
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder for temporary files");
}

/// What a target is called, and what it does with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// The path called `name` in the folder of this process.
pub fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// A file of these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("a file in the folder of this process");
    path
}

/// The folder of this process with a file for each of `names`: `bytes` holds them one after the other, parted by a zero
/// byte, of which the last may hold more; those that are not there are empty.
pub fn files(names: &[&str], bytes: &[u8]) -> PathBuf {
    let mut parts = bytes.splitn(names.len(), |&byte| byte == 0);
    for name in names {
        file(name, parts.next().unwrap_or_default());
    }
    path("")
}

/// The text that `bytes` begin with.
pub fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid so far"),
    }
}

/// The files that [`images`] names.
pub const PICTURES: [&str; 3] = ["a.png", "b.png", "c.png"];

/// The images that caches are made of, and are held against; their files need not be there.
pub fn images() -> Arc<FileImages> {
    let mut builder = CatalogBuilder::new("toy", path(""), Files::below(path("")));
    for picture in PICTURES {
        builder.add(Membership::new(picture, "all"), FileEntry::file(picture)).expect("a plain path");
    }
    let steps = r#"[{"resize": [4, 5]}, {"random_resized_crop": 3}]"#;
    let pipeline: Pipeline = serde_json::from_str(steps).expect("a pipeline");
    let images = FileImages::new(builder.finish(), Decoder::default(), pipeline, Normalize::half());
    Arc::new(images.expect("settings that fit each other"))
}
