//! Fills a catalogue sample by sample.

use super::{Catalog, Samples};
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::PathBuf;

/// Where one sample belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Name of its class.
    pub class: &'a str,
    /// Name of its part.
    pub part: &'a str,
    /// Whether it may be asked for; default true.
    pub is_query: bool,
    /// Whether it may be an answer; default true.
    pub is_gallery: bool,
    /// Its camera or super-class; default none.
    pub group: Option<&'a str>,
}

impl<'a> Membership<'a> {
    /// A sample of `class` in `part`, query and gallery at once, of no group.
    pub fn new(class: &'a str, part: &'a str) -> Self {
        Self { class, part, is_query: true, is_gallery: true, group: None }
    }
}

/// A [`Catalog`] being made.
///
/// ```
/// use dml_data::{CatalogBuilder, FileEntry, Files, Membership};
///
/// let mut builder = CatalogBuilder::new("birds", "birds", Files::below("birds"));
/// builder.add(Membership::new("wren", "train"), FileEntry::file("wren/1.jpg"))?;
/// builder.add(Membership::new("gull", "test"), FileEntry::file("gull/1.jpg"))?;
/// let test = builder.finish().part("test")?;
/// assert_eq!((test.labels(), test.class_names()), ([0].as_slice(), ["gull".to_owned()].as_slice()));
/// # Ok::<(), dml_data::Error>(())
/// ```
#[derive(Debug)]
pub struct CatalogBuilder<S> {
    catalog: Catalog<S>,
    classes: HashMap<String, u32>,
    group_numbers: HashMap<String, u32>,
    grouped: bool,
}

impl<S: Samples> CatalogBuilder<S> {
    /// An empty catalogue called `name` of what `samples` will hold; `origin` is the file or folder that messages name.
    pub fn new(name: impl Into<String>, origin: impl Into<PathBuf>, samples: S) -> Self {
        let catalog = Catalog {
            name: name.into(),
            origin: origin.into(),
            labels: vec![],
            class_names: vec![],
            parts: vec![],
            part_names: vec![],
            roles: vec![],
            groups: vec![],
            group_names: vec![],
            samples,
        };
        Self { catalog, classes: HashMap::new(), group_numbers: HashMap::new(), grouped: false }
    }

    /// The number of `class`. Classes are numbered as they come: a source that lists them declares them first, so that
    /// one without samples is known by name.
    pub fn class(&mut self, class: &str) -> u32 {
        let numbered =
            self.catalog.labels.last().copied().filter(|&last| self.catalog.class_names[last as usize] == class);
        numbered.unwrap_or_else(|| number(&mut self.classes, &mut self.catalog.class_names, class))
    }

    /// Takes one more sample.
    ///
    /// # Errors
    /// When there are more than 256 parts, or the sample cannot be one ([`Samples::push`]).
    pub fn add(&mut self, membership: Membership<'_>, sample: S::Item<'_>) -> Result<()> {
        let label = self.class(membership.class);
        let catalog = &mut self.catalog;
        let part = catalog.part_names.iter().position(|part| part == membership.part).unwrap_or_else(|| {
            catalog.part_names.push(membership.part.to_owned());
            catalog.part_names.len() - 1
        });
        let part = u8::try_from(part).map_err(|_| {
            let problem = format!("more than 256 parts, the last is `{}`: is it the right column?", membership.part);
            Error::format(&catalog.origin, problem)
        })?;
        catalog.samples.push(sample)?;
        catalog.labels.push(label);
        catalog.parts.push(part);
        catalog.roles.push([membership.is_query, membership.is_gallery]);
        self.grouped |= membership.group.is_some();
        let group = number(&mut self.group_numbers, &mut catalog.group_names, membership.group.unwrap_or_default());
        catalog.groups.push(group);
        Ok(())
    }

    /// How many samples it has.
    pub fn len(&self) -> usize {
        self.catalog.labels.len()
    }

    /// Whether it has no samples yet.
    pub fn is_empty(&self) -> bool {
        self.catalog.labels.is_empty()
    }

    /// The catalogue.
    pub fn finish(self) -> Catalog<S> {
        let mut catalog = self.catalog;
        if catalog.roles.iter().all(|role| *role == [true, true]) {
            catalog.roles = vec![];
        }
        if !self.grouped {
            (catalog.groups, catalog.group_names) = (vec![], vec![]);
        }
        catalog
    }
}

/// The number of `name`, a new one if it is new.
fn number(numbers: &mut HashMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(&number) = numbers.get(name) {
        return number;
    }
    let number = names.len() as u32;
    numbers.insert(name.to_owned(), number);
    names.push(name.to_owned());
    number
}
