//! The Milvus of the tests, and galleries on it.
#![allow(dead_code, reason = "each test uses some of it")]

use dml_gallery::{MilvusGallery, MilvusServer, Model, Templates};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a server is, or `None` and why nothing is tested.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn server() -> Option<MilvusServer> {
    let said = std::env::var("DML_TEST_MILVUS").ok();
    if said.is_none() {
        println!("skipped: DML_TEST_MILVUS names no server; tests/servers/servers.py starts one");
    }
    said.map(|address| address.parse().unwrap())
}

/// The name of a gallery that goes when the test ends.
pub(crate) struct Name {
    pub(crate) server: MilvusServer,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(server: &MilvusServer) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { server: server.clone(), name }
    }

    pub(crate) fn create(&self, model: Model, templates: Templates) -> dml_gallery::Result<MilvusGallery> {
        MilvusGallery::create(&self.server, &self.name, model, templates)
    }

    pub(crate) fn open(&self) -> dml_gallery::Result<MilvusGallery> {
        MilvusGallery::open(&self.server, &self.name)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = MilvusGallery::destroy(&self.server, &self.name);
    }
}
