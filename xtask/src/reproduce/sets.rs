//! The data sets that jobs need, each looked at once: a look takes the checksums of all its files, which may be gigabytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::dataset::{self, State};

/// What is known of the data sets below a folder.
pub(super) struct Sets<'a> {
    data: &'a Path,
    /// Whether the folder was named, so that commands must name it, too.
    named: bool,
    /// Whether a damaged set is only what its jobs lack. Else it is an error: to skip over it would hide it.
    lenient: bool,
    /// What each lacks that was looked at.
    known: BTreeMap<String, Option<String>>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(data: &'a Path, named: bool, lenient: bool) -> Self {
        Self { data, named, lenient, known: BTreeMap::new() }
    }

    /// What a job lacks that needs the data set `name`: the command that brings it, or what is damaged.
    pub(super) fn lacks(&mut self, name: Option<&str>) -> Result<Option<String>> {
        let Some(name) = name else { return Ok(None) };
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let lacks = match dataset::state(name, self.data, self.named)? {
            State::There => None,
            State::Missing(command) => Some(command),
            State::Damaged(what) if self.lenient => Some(format!("{name} undamaged: {what}")),
            State::Damaged(what) => bail!("{what}"),
        };
        self.known.insert(name.to_owned(), lacks.clone());
        Ok(lacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_set_is_looked_at_once_and_damage_is_said_or_an_error() {
        let data = tempfile::tempdir().unwrap();
        let mut sets = Sets::new(data.path(), false, false);
        let missing = sets.lacks(Some("omniglot")).unwrap();
        assert_eq!(missing.as_deref(), Some("cargo xtask dataset fetch omniglot (3.3 MB)"));
        fs::create_dir(data.path().join("omniglot")).unwrap();
        fs::write(data.path().join("omniglot/images_background_small1.zip"), b"PK").unwrap();
        assert_eq!(sets.lacks(Some("omniglot")).unwrap(), missing);
        assert_eq!(sets.lacks(None).unwrap(), None);

        let error = Sets::new(data.path(), false, false).lacks(Some("omniglot")).unwrap_err().to_string();
        assert!(error.contains("has size 2 but the manifest says 1319022"), "{error}");
        let said = Sets::new(data.path(), true, true).lacks(Some("omniglot")).unwrap().unwrap();
        assert!(said.starts_with("omniglot undamaged: ") && said.contains("has size 2"), "{said}");
        assert!(said.contains("dataset fetch omniglot --data-dir "), "{said}");
        let unknown = Sets::new(data.path(), false, true).lacks(Some("omniglott")).unwrap_err().to_string();
        assert!(unknown.contains("no data set is called `omniglott`"), "{unknown}");
    }
}
