//! Manifests: what a data set is made of, under which licence, and whether the files on disk are those.
//!
//! Below a data folder the files of a set lie at `<data>/<name>/<file>`. `dml_data::download` (feature `download`) brings
//! them there.

use crate::{Error, Expected, Result, SplitRule};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

mod file;

pub(crate) use file::Difference;
pub use file::ManifestFile;

/// The manifests of `datasets/`.
const MANIFESTS: [&str; 17] = [
    include_str!("../../../datasets/emoji.toml"),
    include_str!("../../../datasets/omniglot.toml"),
    include_str!("../../../datasets/omniglot-full.toml"),
    include_str!("../../../datasets/mini-imagenet.toml"),
    include_str!("../../../datasets/banking77.toml"),
    include_str!("../../../datasets/clinc150.toml"),
    include_str!("../../../datasets/stsb.toml"),
    include_str!("../../../datasets/cub-200-2011.toml"),
    include_str!("../../../datasets/cars-196.toml"),
    include_str!("../../../datasets/stanford-online-products.toml"),
    include_str!("../../../datasets/in-shop.toml"),
    include_str!("../../../datasets/inaturalist-2018.toml"),
    include_str!("../../../datasets/vehicle-id.toml"),
    include_str!("../../../datasets/lfw.toml"),
    include_str!("../../../datasets/att-faces.toml"),
    include_str!("../../../datasets/mnist.toml"),
    include_str!("../../../datasets/fashion-mnist.toml"),
];

/// A file of `datasets/*.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the set and of its folder.
    pub name: String,
    /// What it is, in one line.
    pub summary: String,
    /// The licence of its data.
    pub licence: String,
    /// Where its owners describe it.
    pub homepage: String,
    /// Whether the crate carries the data: nothing to fetch.
    #[serde(default)]
    pub embedded: bool,
    /// Folder of the files below a mirror; default: the name.
    #[serde(default)]
    mirror_path: Option<String>,
    /// Where things lie in its files and folders.
    #[serde(default)]
    pub layout: String,
    /// Counts, traps, and what is not known.
    #[serde(default)]
    pub notes: String,
    /// The files, each one plain name.
    #[serde(default)]
    pub files: Vec<ManifestFile>,
    /// How classes are dealt to training, validation and test, where the set has no split of its own.
    #[serde(default)]
    pub split: Option<SplitRule>,
    /// How many classes and samples each part has.
    #[serde(default)]
    pub expected: BTreeMap<String, Expected>,
}

impl Manifest {
    /// Reads a manifest from TOML.
    ///
    /// # Errors
    /// When a key is unknown or missing, a name or a part of the mirror path is no plain file name, or a file with an
    /// address lacks the size or the checksum to know it by.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| Error::Invalid(format!("manifest: {error}")))?;
        let names = manifest.files.iter().map(|file| &file.name).chain([&manifest.name]).map(String::as_str);
        if let Some(name) = names.chain(manifest.mirror_path().split('/')).find(|name| !is_plain(name)) {
            return Err(Error::Invalid(format!(
                "manifest {}: `{name}` is not a plain file name: leave out folders",
                manifest.name
            )));
        }
        match manifest.files.iter().find(|file| !file.urls.is_empty() && !file.unchecked().is_empty()) {
            Some(file) => Err(Error::Invalid(format!(
                "manifest {}: {} has an address but no {}: give it, or leave the address to the notes",
                manifest.name,
                file.name,
                file.unchecked().join(" and ")
            ))),
            None => Ok(manifest),
        }
    }

    /// All manifests this crate knows.
    ///
    /// # Errors
    /// When one does not parse, which this crate's tests rule out.
    pub fn all() -> Result<Vec<Self>> {
        MANIFESTS.into_iter().map(Self::parse).collect()
    }

    /// The manifest of the data set `name`.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn find(name: &str) -> Result<Self> {
        let mut all = Self::all()?;
        match all.iter().position(|manifest| manifest.name == name) {
            Some(found) => Ok(all.swap_remove(found)),
            None => {
                let names: Vec<String> = all.into_iter().map(|manifest| manifest.name).collect();
                Err(Error::Invalid(format!("no data set is called `{name}`: use one of {}", names.join(", "))))
            }
        }
    }

    /// The file called `name`.
    ///
    /// # Errors
    /// When the manifest lists no such file.
    pub fn file(&self, name: &str) -> Result<&ManifestFile> {
        self.files.iter().find(|file| file.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
            Error::Invalid(format!("data set {} has no file `{name}`: it has {}", self.name, names.join(", ")))
        })
    }

    /// The folder of this set below `data`.
    pub fn folder(&self, data: &Path) -> PathBuf {
        data.join(&self.name)
    }

    /// Where `file` lies below `data`.
    pub fn path(&self, data: &Path, file: &ManifestFile) -> PathBuf {
        self.folder(data).join(&file.name)
    }

    /// The folder of this set below a mirror, parts separated by `/`.
    pub fn mirror_path(&self) -> &str {
        self.mirror_path.as_deref().unwrap_or(&self.name)
    }

    /// The size of all files whose size is known. Sizes are claims: what cannot be counted is the most that can.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// The command that brings the files, with their size: `cargo xtask dataset fetch omniglot (3.3 MB)`. Where a file
    /// has no public address it is `import NAME DIR`.
    pub fn fetch_command(&self) -> String {
        let name = &self.name;
        let command = match self.files.iter().any(|file| file.urls.is_empty()) {
            true => format!("import {name} DIR"),
            false => format!("fetch {name}"),
        };
        let size = match (self.bytes(), self.files.iter().any(|file| file.bytes.is_none())) {
            (0, true) => "size not published".to_owned(),
            (bytes, true) => format!("more than {:.1} MB", bytes as f64 / 1e6),
            (bytes, false) => format!("{:.1} MB", bytes as f64 / 1e6),
        };
        format!("cargo xtask dataset {command} ({size})")
    }

    /// Checks size and checksum of every file below `data`, as far as the manifest knows them. An embedded set is always
    /// right. [`ManifestFile::unchecked`] says what is taken on trust.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`], for the first file that is not right.
    pub fn verify(&self, data: &Path) -> Result<()> {
        if self.embedded {
            return Ok(());
        }
        self.files.iter().try_for_each(|file| self.verify_file(data, file))
    }

    /// Checks size and then checksum of one file below `data`, as far as the manifest knows them.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`].
    pub fn verify_file(&self, data: &Path, file: &ManifestFile) -> Result<()> {
        let path = self.path(data, file);
        let found = fs::File::open(&path).and_then(|content| {
            let size = content.metadata()?.len();
            file.difference(size, content)
        });
        self.accept(&path, found.map_err(|error| self.unreadable(&path, error))?)
    }

    /// The bytes of the file called `name` below `data`, verified.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`]; [`Error::Invalid`] when the manifest lists no such file.
    pub fn read(&self, data: &Path, name: &str) -> Result<Vec<u8>> {
        let file = self.file(name)?;
        let path = self.path(data, file);
        let bytes = fs::read(&path).map_err(|error| self.unreadable(&path, error))?;
        let found = file.difference(bytes.len() as u64, bytes.as_slice()).map_err(Error::io(&path))?;
        self.accept(&path, found)?;
        Ok(bytes)
    }

    fn unreadable(&self, path: &Path, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => {
                Error::Missing { path: path.to_owned(), mend: format!("run {}", self.fetch_command()) }
            }
            _ => Error::access(path)(error),
        }
    }

    fn accept(&self, path: &Path, difference: Option<Difference>) -> Result<()> {
        let Some(Difference { what, found, expected }) = difference else { return Ok(()) };
        let mend = format!("bring it anew: {}", self.fetch_command());
        Err(Error::Corrupt { path: path.to_owned(), what, found, expected, mend })
    }
}

/// Whether `name` is one normal component of a path on every system.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: &str = r#"
        name = "toy"
        summary = "one word"
        licence = "CC0-1.0"
        homepage = "none"
        [[files]]
        name = "word.txt"
        bytes = 5
        sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    "#;

    fn toy(content: Option<&[u8]>) -> (tempfile::TempDir, Manifest) {
        let (data, manifest) = (tempfile::tempdir().unwrap(), Manifest::parse(TOY).unwrap());
        fs::create_dir(manifest.folder(data.path())).unwrap();
        if let Some(content) = content {
            fs::write(data.path().join("toy/word.txt"), content).unwrap();
        }
        (data, manifest)
    }

    #[test]
    fn every_manifest_parses_and_names_its_licence_and_checksums() {
        for manifest in Manifest::all().unwrap() {
            let name = &manifest.name;
            assert!(!manifest.licence.trim().is_empty(), "{name} names no licence");
            assert!(manifest.embedded || !manifest.files.is_empty(), "{name} has nothing to fetch");
            for file in &manifest.files {
                for (digest, length) in [(&file.sha256, 64), (&file.md5, 32)] {
                    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    let right = |digest: &String| digest.len() == length && digest.bytes().all(is_hex);
                    assert!(digest.as_ref().is_none_or(right), "{name}/{}: checksum", file.name);
                }
                assert!(file.bytes != Some(0), "{name}/{}: bytes", file.name);
                let told = file.unchecked().is_empty() || manifest.notes.contains("not published");
                assert!(told, "{name}/{}: the notes must say what is not published", file.name);
                assert!(file.urls.iter().all(|url| url.starts_with("https://")), "{name}/{}: plain http", file.name);
            }
            assert_eq!(Manifest::find(name).unwrap(), manifest);
        }
    }

    #[test]
    fn embedded_files_are_those_of_their_manifest() {
        let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
        for manifest in Manifest::all().unwrap().into_iter().filter(|manifest| manifest.embedded) {
            manifest.files.iter().for_each(|file| manifest.verify_file(&datasets, file).unwrap());
        }
    }

    #[test]
    fn a_manifest_must_be_wholly_understood() {
        assert!(Manifest::parse(&format!("colour = 1\n{TOY}")).unwrap_err().to_string().contains("colour"));
        assert!(Manifest::parse(&TOY.replace("licence", "licens")).is_err());
        for name in ["../word.txt", "a/b", "c:b", ".hidden", ""] {
            let error = Manifest::parse(&TOY.replace("word.txt", name)).unwrap_err().to_string();
            assert!(error.contains("not a plain file name"), "{name}: {error}");
        }
        for path in ["/toy", "toy/../..", "toy//word", ""] {
            let error = Manifest::parse(&format!("mirror_path = '{path}'\n{TOY}")).unwrap_err().to_string();
            assert!(error.contains("not a plain file name"), "{path}: {error}");
        }
        let error = Manifest::find("omniglott").unwrap_err().to_string();
        assert!(error.contains("`omniglott`") && error.contains("emoji, omniglot, omniglot-full"), "{error}");
    }

    #[test]
    fn omniglot_says_how_it_is_fetched() {
        assert_eq!(Manifest::find("omniglot").unwrap().fetch_command(), "cargo xtask dataset fetch omniglot (3.3 MB)");
        let full = Manifest::find("omniglot-full").unwrap();
        assert_eq!(full.fetch_command(), "cargo xtask dataset import omniglot-full DIR (6.5 MB)");
        assert_eq!(full.mirror_path(), "omniglot/full");
        assert_eq!(Manifest::find("omniglot").unwrap().mirror_path(), "omniglot");
    }

    #[test]
    fn sizes_that_cannot_be_counted_are_no_panic() {
        let files = format!("[[files]]\nname = 'x'\nbytes = {}\n", i64::MAX).repeat(3);
        let manifest = Manifest::parse(&format!("{TOY}{files}")).unwrap();
        assert_eq!(manifest.bytes(), u64::MAX);
        assert!(manifest.fetch_command().contains("import toy DIR"), "{}", manifest.fetch_command());
    }

    #[test]
    fn whole_files_are_accepted() {
        let (data, manifest) = toy(Some(b"hello"));
        manifest.verify(data.path()).unwrap();
        assert_eq!(manifest.read(data.path(), "word.txt").unwrap(), b"hello");
        assert!(
            manifest
                .read(data.path(), "words.txt")
                .unwrap_err()
                .to_string()
                .contains("has no file `words.txt`: it has word.txt")
        );
    }

    #[test]
    fn missing_truncated_and_altered_files_are_told_apart() {
        for (content, expected) in [
            (None, "not found; run cargo xtask dataset import toy DIR (0.0 MB)"),
            (
                Some(b"hell".as_slice()),
                "has size 4 but the manifest says 5; bring it anew: cargo xtask dataset import toy",
            ),
            (
                Some(b"jello"),
                "has sha256 187c9bceeb919e1b3e6d20fa50ecabf7d9d50b5343e8f9a3d912abb13929102e but the manifest says 2cf24d",
            ),
        ] {
            let (data, manifest) = toy(content);
            for error in
                [manifest.verify(data.path()).unwrap_err(), manifest.read(data.path(), "word.txt").unwrap_err()]
            {
                let message = error.to_string();
                assert!(message.contains("word.txt: ") && message.contains(expected), "{message}");
            }
        }
    }
}
