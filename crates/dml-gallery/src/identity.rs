//! Who is enrolled, and what is known of them.

use crate::{Embeddings, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of a sample within a gallery; never given twice.
pub type SampleId = u64;

/// What is known of an identity, by key.
pub type Metadata = BTreeMap<String, String>;

/// Somebody, or something, that is enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name, the only one in the gallery.
    pub name: String,
    /// What is known of it.
    pub metadata: Metadata,
    /// Its samples, in the order in which they were added.
    pub samples: Vec<SampleId>,
}

/// Which identities are asked for: those whose metadata has, for each key named, one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    wanted: BTreeMap<String, Vec<String>>,
}

impl Filter {
    /// Everybody.
    pub fn everybody() -> Self {
        Self::default()
    }

    /// Of these only those whose `key` is `value`; named again, whose `key` is one of the values.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.wanted.entry(key.into()).or_default().push(value.into());
        self
    }

    /// The values of each key that is asked for.
    #[cfg(any(feature = "milvus", feature = "pgvector"))]
    pub(crate) fn wanted(&self) -> &BTreeMap<String, Vec<String>> {
        &self.wanted
    }

    /// Whether nobody is left out.
    pub fn is_everybody(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether an identity of this metadata is asked for.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        self.wanted.iter().all(|(key, values)| metadata.get(key).is_some_and(|value| values.contains(value)))
    }
}

/// A change of a gallery. Several are made together or not at all ([`Gallery::apply`](crate::Gallery::apply)).
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Somebody new, with one sample or more.
    Enrol {
        /// Name, not empty and nobody else's.
        name: &'a str,
        /// `[samples, d]`.
        embeddings: Embeddings<'a>,
        /// What is known of them.
        metadata: Metadata,
    },
    /// More samples of somebody.
    AddSamples {
        /// Name.
        name: &'a str,
        /// `[samples, d]`.
        embeddings: Embeddings<'a>,
    },
    /// Samples are forgotten; one must stay.
    RemoveSamples {
        /// Name.
        name: &'a str,
        /// Which.
        samples: &'a [SampleId],
    },
    /// Somebody is forgotten, with all that is known of them.
    Remove {
        /// Name.
        name: &'a str,
    },
}

impl Change<'_> {
    /// Whom it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Enrol { name, .. }
            | Self::AddSamples { name, .. }
            | Self::RemoveSamples { name, .. }
            | Self::Remove { name } => name,
        }
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Identities.
    pub identities: usize,
    /// Their samples.
    pub samples: usize,
}

/// Longest name, and longest metadata of one identity, in bytes.
const LONGEST: usize = 1 << 16;

/// Refuses a name or metadata that cannot be kept.
pub(crate) fn check_words(name: &str, metadata: &Metadata) -> Result<()> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::Input(format!(
            "{name:?} is no name for an identity: want some characters, none of them control"
        )));
    }
    let length = name.len() + metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if length > LONGEST {
        return Err(Error::Input(format!(
            "name and metadata of {:.40}… take {length} bytes: want {LONGEST} at most, keep long texts elsewhere",
            name
        )));
    }
    match metadata.keys().any(String::is_empty) {
        true => Err(Error::Input(format!("{name:?} has metadata without a key: name it"))),
        false => Ok(()),
    }
}
