//! Manifests: what a data set is made of, under which licence, and whether the files on disk are those.
//!
//! Below a data folder the files of a set lie at `<data>/<name>/<file>`. `dml_data::download` (feature `download`) brings
//! them there.

use crate::{Error, Result, SplitRule};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The manifests of `datasets/`.
const MANIFESTS: [&str; 3] = [
    include_str!("../../../datasets/emoji.toml"),
    include_str!("../../../datasets/omniglot.toml"),
    include_str!("../../../datasets/omniglot-full.toml"),
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
    /// Layout, counts and traps.
    #[serde(default)]
    pub notes: String,
    /// The files, each one plain name.
    #[serde(default)]
    pub files: Vec<ManifestFile>,
    /// How classes are dealt to training, validation and test, where the set has no split of its own.
    #[serde(default)]
    pub split: Option<SplitRule>,
}

/// A file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its name on disk.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Where it can be downloaded, tried in this order. None: from a mirror only.
    #[serde(default)]
    pub urls: Vec<String>,
}

impl Manifest {
    /// Reads a manifest from TOML.
    ///
    /// # Errors
    /// When a key is unknown or missing, or a name or a part of the mirror path is no plain file name.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| Error::Invalid(format!("manifest: {error}")))?;
        let names = manifest.files.iter().map(|file| &file.name).chain([&manifest.name]).map(String::as_str);
        if let Some(name) = names.chain(manifest.mirror_path().split('/')).find(|name| !is_plain(name)) {
            return Err(Error::Invalid(format!(
                "manifest {}: `{name}` is not a plain file name: leave out folders",
                manifest.name
            )));
        }
        Ok(manifest)
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

    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The command that brings the files, with their size: `cargo xtask dataset fetch omniglot (3.3 MB)`. Where a file
    /// has no public address it ends in ` --from DIR`, before the size.
    pub fn fetch_command(&self) -> String {
        let from = if self.files.iter().any(|file| file.urls.is_empty()) { " --from DIR" } else { "" };
        format!("cargo xtask dataset fetch {}{from} ({:.1} MB)", self.name, self.bytes() as f64 / 1e6)
    }

    /// Checks size and SHA-256 of every file below `data`. An embedded set is always right.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`], for the first file that is not right.
    pub fn verify(&self, data: &Path) -> Result<()> {
        if self.embedded {
            return Ok(());
        }
        self.files.iter().try_for_each(|file| self.verify_file(data, file))
    }

    /// Checks size and then SHA-256 of one file below `data`.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`].
    pub fn verify_file(&self, data: &Path, file: &ManifestFile) -> Result<()> {
        let path = self.path(data, file);
        let size = fs::metadata(&path).map_err(|error| self.unreadable(&path, error))?.len();
        self.check_size(&path, file, size)?;
        let found = sha256_of(&path)?;
        self.check_sha256(&path, file, found)
    }

    /// The bytes of the file called `name` below `data`, verified.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Corrupt`]; [`Error::Invalid`] when the manifest lists no such file.
    pub fn read(&self, data: &Path, name: &str) -> Result<Vec<u8>> {
        let file = self.file(name)?;
        let path = self.path(data, file);
        let bytes = fs::read(&path).map_err(|error| self.unreadable(&path, error))?;
        self.check_size(&path, file, bytes.len() as u64)?;
        self.check_sha256(&path, file, hex(Sha256::digest(&bytes)))?;
        Ok(bytes)
    }

    fn unreadable(&self, path: &Path, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => {
                Error::Missing { path: path.to_owned(), mend: format!("run {}", self.fetch_command()) }
            }
            _ => Error::io(path)(error),
        }
    }

    fn check_size(&self, path: &Path, file: &ManifestFile, size: u64) -> Result<()> {
        if size == file.bytes {
            return Ok(());
        }
        Err(self.corrupt(path, "size", size.to_string(), file.bytes.to_string()))
    }

    fn check_sha256(&self, path: &Path, file: &ManifestFile, found: String) -> Result<()> {
        if found == file.sha256 {
            return Ok(());
        }
        Err(self.corrupt(path, "sha256", found, file.sha256.clone()))
    }

    fn corrupt(&self, path: &Path, what: &'static str, found: String, expected: String) -> Error {
        let mend = format!("bring it anew: {}", self.fetch_command());
        Error::Corrupt { path: path.to_owned(), what, found, expected, mend }
    }
}

/// Whether `name` is one normal component of a path on every system.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// SHA-256 of a file in lower-case hexadecimal digits.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(hasher.finalize())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path)(error)),
        }
    }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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
                let digits = file.sha256.len() == 64
                    && file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                assert!(digits && file.bytes > 0, "{name}/{}: bytes or sha256", file.name);
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
        assert_eq!(full.fetch_command(), "cargo xtask dataset fetch omniglot-full --from DIR (6.5 MB)");
        assert_eq!(full.mirror_path(), "omniglot/full");
        assert_eq!(Manifest::find("omniglot").unwrap().mirror_path(), "omniglot");
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
            (None, "not found; run cargo xtask dataset fetch toy --from DIR (0.0 MB)"),
            (
                Some(b"hell".as_slice()),
                "has size 4 but the manifest says 5; bring it anew: cargo xtask dataset fetch toy",
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
