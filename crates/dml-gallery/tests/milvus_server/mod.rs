//! The Milvus of the tests, and galleries on it.
#![allow(dead_code, reason = "each test uses some of it")]

use crate::people::{DIM, model, values};
use dml_core::Matrix;
use dml_gallery::{Embeddings, Error, Filter, Gallery, MilvusGallery, MilvusServer, Model, ServerProblem, Templates};
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

pub(crate) fn problem(error: Error) -> ServerProblem {
    match error {
        Error::Server { problem, .. } => problem,
        other => panic!("not of the server: {other}"),
    }
}

/// Names and scores of the candidates of a probe, to the bit.
pub(crate) type Found = Vec<(String, u32)>;

/// What twenty probes find.
pub(crate) fn answers(gallery: &dyn Gallery, k: usize, filter: &Filter) -> Vec<Found> {
    let (model, probes): (_, Vec<f32>) = (model(), (0..20).flat_map(|i| values(1_000_000 + 3 * i)).collect());
    let probes = Embeddings::new(&model, Matrix::new(&probes, probes.len() / DIM, DIM).unwrap());
    let found = gallery.nearest(probes, k, filter).unwrap();
    found.into_iter().map(|list| list.into_iter().map(|c| (c.name, c.score.to_bits())).collect()).collect()
}
