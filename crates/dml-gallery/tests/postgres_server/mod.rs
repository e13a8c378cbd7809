//! The server of the tests, and galleries on it.
#![allow(dead_code, reason = "each test uses some of it")]

use crate::people::model;
use dml_gallery::{PostgresGallery, Templates};
use postgres::{Client, Config, NoTls};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a server is, or `None` and why nothing is tested.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn server() -> Option<Config> {
    let said = std::env::var("DML_TEST_POSTGRES").ok();
    if said.is_none() {
        println!("skipped: DML_TEST_POSTGRES names no server; tests/servers/servers.py starts one");
    }
    said.map(|url| url.parse().unwrap())
}

pub(crate) fn admin(server: &Config) -> Client {
    server.connect(NoTls).unwrap()
}

/// The name of a gallery that goes when the test ends.
pub(crate) struct Name {
    pub(crate) server: Config,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(server: &Config) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { server: server.clone(), name }
    }

    pub(crate) fn create(&self, templates: Templates) -> PostgresGallery {
        PostgresGallery::create(self.server.clone(), &self.name, model(), templates).unwrap()
    }

    pub(crate) fn open(&self) -> dml_gallery::Result<PostgresGallery> {
        PostgresGallery::open(self.server.clone(), &self.name)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = PostgresGallery::destroy(self.server.clone(), &self.name);
    }
}
