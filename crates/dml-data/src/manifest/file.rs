//! One file of a data set, and whether some bytes are that file.

use md5::Md5;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read};

/// A file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its name on disk.
    pub name: String,
    /// Its size; none: not published.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Its SHA-256, 64 lower-case hexadecimal digits; none: not published.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Its MD5, 32 lower-case hexadecimal digits, checked where there is no SHA-256.
    #[serde(default)]
    pub md5: Option<String>,
    /// Where it can be downloaded, tried in this order. None: from a mirror only.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Whether it is an archive to unpack beside itself ([`crate::unpack`]); default: it is read as it is.
    #[serde(default)]
    pub unpack: bool,
}

/// A property of a file that is not as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl ManifestFile {
    /// What the manifest does not know and so does not check: of `size` and `checksum`.
    pub fn unchecked(&self) -> Vec<&'static str> {
        let unknown = [("size", self.bytes.is_none()), ("checksum", !self.has_checksum())];
        unknown.into_iter().filter_map(|(what, unknown)| unknown.then_some(what)).collect()
    }

    /// Whether bytes can be told from others of the same number.
    pub(crate) fn has_checksum(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some()
    }

    /// The first thing in which `content` of `size` bytes is not this file. A wrong size is seen without reading.
    pub(crate) fn difference(&self, size: u64, content: impl Read) -> io::Result<Option<Difference>> {
        let different =
            |what, found: String, expected: String| (found != expected).then_some(Difference { what, found, expected });
        if let Some(wrong) = self.bytes.and_then(|bytes| different("size", size.to_string(), bytes.to_string())) {
            return Ok(Some(wrong));
        }
        Ok(match (&self.sha256, &self.md5) {
            (Some(sha256), _) => different("sha256", digest::<Sha256>(content)?, sha256.clone()),
            (None, Some(md5)) => different("md5", digest::<Md5>(content)?, md5.clone()),
            (None, None) => None,
        })
    }
}

/// The digest of all that `content` gives, in lower-case hexadecimal digits.
fn digest<D: Digest>(mut content: impl Read) -> io::Result<String> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: Option<u64>, sha256: Option<&str>, md5: Option<&str>) -> ManifestFile {
        let (sha256, md5) = (sha256.map(str::to_owned), md5.map(str::to_owned));
        ManifestFile { name: "word.txt".into(), bytes, sha256, md5, urls: vec![], unpack: false }
    }

    #[test]
    fn only_what_is_known_is_checked() {
        // md5sum and sha256sum of `hello`.
        let (md5, sha256) =
            ("5d41402abc4b2a76b9719d911017c592", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        let wrong = |file: ManifestFile, content: &[u8]| {
            file.difference(content.len() as u64, content).unwrap().map(|difference| difference.what)
        };
        assert_eq!(wrong(file(None, None, Some(md5)), b"hello"), None);
        assert_eq!(wrong(file(None, None, Some(md5)), b"hellO"), Some("md5"));
        assert_eq!(wrong(file(Some(5), Some(sha256), Some("not looked at")), b"hello"), None);
        assert_eq!(wrong(file(Some(5), Some(sha256), Some(md5)), b"hell"), Some("size"));
        assert_eq!(wrong(file(None, None, None), b"anything"), None);
        assert_eq!(file(None, None, None).unchecked(), ["size", "checksum"]);
        assert_eq!(file(Some(5), None, None).unchecked(), ["checksum"]);
        assert!(file(Some(5), None, Some(md5)).unchecked().is_empty());
    }
}
