//! A set as its owners publish it: its manifest, where its files lie, and whether they are all there.

use crate::{Catalog, Error, Manifest, Result, Samples};
use std::path::{Path, PathBuf};

pub(super) struct Published<'a> {
    pub(super) manifest: &'a Manifest,
    /// Where its files lie.
    pub(super) folder: PathBuf,
}

impl<'a> Published<'a> {
    /// The set of `manifest` below `data_dir`.
    pub(super) fn of(manifest: &'a Manifest, data_dir: &Path) -> Self {
        Self { manifest, folder: manifest.folder(data_dir) }
    }

    /// The folder that holds `marker`: the set's own, or one of `below` where an unpacked archive put it.
    pub(super) fn tree(&self, marker: &str, below: &[&str]) -> Result<PathBuf> {
        let places = [""].iter().chain(below).map(|inner| self.folder.join(inner));
        places.into_iter().find(|place| place.join(marker).exists()).ok_or_else(|| {
            let mend = format!("run {}", self.manifest.fetch_command());
            Error::Missing { path: self.folder.join(marker), mend }
        })
    }

    /// The catalogue, if it has the counts of the manifest.
    pub(super) fn counted<S: Samples>(&self, catalog: Catalog<S>) -> Result<Catalog<S>> {
        catalog.check_counts(&self.manifest.expected)?;
        Ok(catalog)
    }

    /// The catalogue, if it has the counts of the manifest and no class is in two parts.
    pub(super) fn disjoint<S: Samples>(&self, catalog: Catalog<S>) -> Result<Catalog<S>> {
        let catalog = self.counted(catalog)?;
        catalog.check_disjoint()?;
        Ok(catalog)
    }

    /// The catalogue, if it has the counts of the manifest, its classes dealt by the manifest's rule.
    pub(super) fn dealt<S: Samples>(&self, catalog: Catalog<S>) -> Result<Catalog<S>> {
        self.counted(catalog)?.split(&self.manifest.split.unwrap_or_default())
    }
}
