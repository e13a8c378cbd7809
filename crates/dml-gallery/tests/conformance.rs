//! Both back-ends do what every gallery must.

use dml_gallery::{FileGallery, Gallery, MemoryGallery, conformance};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_gallery_in_memory_conforms() {
    conformance::check(&|model, templates| Ok(Box::new(MemoryGallery::new(model, templates)?) as Box<dyn Gallery>))
        .unwrap();
}

#[test]
fn a_gallery_in_a_file_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicUsize::new(0);
    let make = |model, templates| {
        let path = folder.path().join(format!("{}.gallery", number.fetch_add(1, Ordering::Relaxed)));
        Ok(Box::new(FileGallery::create(path, model, templates)?) as Box<dyn Gallery>)
    };
    conformance::check(&make).unwrap();
}
