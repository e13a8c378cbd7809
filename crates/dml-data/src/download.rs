//! Brings the files of a manifest to disk: from their owner, a mirror or a local copy. Needs the feature `download`.
//!
//! A file grows as `<file>.part`; it gets its name only when it is whole, its SHA-256 is the manifest's and it is on the
//! disk. An interrupted download goes on where it stopped; a part with a wrong checksum is removed.
//!
//! Where the manifest knows no size the server's word for it is taken. Where it knows no checksum either
//! ([`ManifestFile::unchecked`]) what arrives is taken on trust, and an interrupted download goes on only in the same fetch
//! and only while the server says that it is the same file (`If-Range`); a later fetch begins anew.

mod http;
mod part;

use crate::manifest::Difference;
use crate::{Error, Manifest, ManifestFile, Result, room, unpack};
use http::Outcome;
use part::Part;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Where files are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The addresses in the manifest.
    Owner,
    /// A folder or an `http(s)://` address that holds `<manifest's mirror path>/<file>`.
    Mirror(String),
    /// A folder that holds the files (or a mirror's layout), or one file of the set.
    Local(PathBuf),
}

/// How far a file has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a ManifestFile,
    /// Bytes there are of it.
    pub done: u64,
    /// Bytes there will be, if that is known.
    pub size: Option<u64>,
}

/// Fetches data sets from one source.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// Where from.
    pub source: Source,
    /// Attempts in a row without a new byte before an address is given up; default 4.
    pub attempts: u32,
    /// Pause after the first such attempt, doubled after each further one; default 1 s.
    pub pause: Duration,
    /// How long a connection may be silent; default 30 s.
    pub patience: Duration,
}

/// The place one file is taken from.
enum Origin {
    Path(PathBuf),
    Url(String),
}

impl Fetcher {
    /// A fetcher with the default patience.
    pub fn new(source: Source) -> Self {
        Self { source, attempts: 4, pause: Duration::from_secs(1), patience: Duration::from_secs(30) }
    }

    /// Brings every file of `manifest` that is missing or wrong below `data`, and names those it brought. `progress` is
    /// called when a file begins and as its bytes arrive. From a local single file only that one is brought.
    ///
    /// # Errors
    /// When a source does not have a file, has other bytes than the manifest says, or a file cannot be written. Files
    /// brought before stay; nothing that is not verified carries a file's name.
    pub fn fetch<'a>(
        &self,
        manifest: &'a Manifest,
        data: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<&'a str>> {
        let mut brought = vec![];
        if manifest.embedded {
            return Ok(brought);
        }
        let mut lacking = vec![];
        for file in self.wanted(manifest)? {
            match manifest.verify_file(data, file) {
                Ok(()) => {}
                Err(Error::Missing { .. } | Error::Corrupt { .. }) => lacking.push(file),
                Err(error) => return Err(error),
            }
        }
        check_room(manifest, data, &lacking)?;
        for file in lacking {
            self.bring(manifest, data, file, progress)?;
            brought.push(file.name.as_str());
        }
        Ok(brought)
    }

    /// The files this source is asked for: all, or the one that a local file is named after.
    fn wanted<'a>(&self, manifest: &'a Manifest) -> Result<Vec<&'a ManifestFile>> {
        match &self.source {
            Source::Local(path) if !path.exists() => {
                Err(Error::Missing { path: path.clone(), mend: "give a folder or a file that exists".into() })
            }
            Source::Local(path) if path.is_file() => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Ok(vec![manifest.file(&name)?])
            }
            _ => Ok(manifest.files.iter().collect()),
        }
    }

    fn bring(
        &self,
        manifest: &Manifest,
        data: &Path,
        file: &ManifestFile,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let target = manifest.path(data, file);
        let mut failed = None;
        for origin in self.origins(manifest, file) {
            let mut part = Part::open(&target, file.bytes.unwrap_or(u64::MAX))?;
            let outcome = match &origin {
                Origin::Path(path) => copy(path, &mut part, file, progress),
                Origin::Url(url) => self.download(url, &mut part, file, progress),
            };
            let outcome = match outcome {
                Ok(()) => accept(part, &target, file, &origin),
                Err(error) if part.len() == 0 => part.discard().and(Err(error)),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let (set, name) = (&manifest.name, &file.name);
            Error::Invalid(format!(
                "{set}: {name} has no public address: fetch it with --from DIR or DML_MIRROR=DIR|URL"
            ))
        }))
    }

    fn origins(&self, manifest: &Manifest, file: &ManifestFile) -> Vec<Origin> {
        let mirrored = |root: &Path| root.join(manifest.mirror_path()).join(&file.name);
        match &self.source {
            Source::Owner => file.urls.iter().cloned().map(Origin::Url).collect(),
            Source::Mirror(url) if url.starts_with("http://") || url.starts_with("https://") => {
                vec![Origin::Url(format!("{}/{}/{}", url.trim_end_matches('/'), manifest.mirror_path(), file.name))]
            }
            Source::Mirror(folder) => vec![Origin::Path(mirrored(Path::new(folder)))],
            Source::Local(path) if path.is_file() => vec![Origin::Path(path.clone())],
            Source::Local(folder) => {
                let plain = folder.join(&file.name);
                vec![Origin::Path(if plain.exists() || !mirrored(folder).exists() { plain } else { mirrored(folder) })]
            }
        }
    }

    fn download(
        &self,
        url: &str,
        part: &mut Part,
        file: &ManifestFile,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let agent = http::agent(url, self.patience);
        let failure = |problem: String| Error::Download { url: url.to_owned(), problem };
        // Against the best so far: a server that cannot resume may send less each time.
        let (mut failures, mut best, mut version) = (0, part.len(), None);
        while file.bytes != Some(part.len()) {
            let problem = match http::attempt(&agent, url, part, (file, &mut version), progress)? {
                Outcome::Complete => break,
                Outcome::Refused(problem) => return Err(failure(problem)),
                Outcome::Interrupted(problem) => problem,
            };
            failures = if part.len() > best { 0 } else { failures + 1 };
            best = best.max(part.len());
            if failures >= self.attempts {
                let kept = kept(part, file)?;
                return Err(failure(format!(
                    "{problem}; {failures} attempts, {kept}, or use --from DIR or DML_MIRROR=DIR|URL"
                )));
            }
            thread::sleep(self.pause * (1 << failures.min(5)) / 2);
        }
        Ok(())
    }
}

/// What a fetch that is given up leaves, and what the next one makes of it. What no checksum can vouch for is not kept.
fn kept(part: &mut Part, file: &ManifestFile) -> Result<String> {
    if !file.has_checksum() {
        part.restart()?;
        return Ok("nothing is kept, as no checksum is published: run the fetch again".into());
    }
    let of = file.bytes.map_or(String::new(), |bytes| format!(" of {bytes}"));
    Ok(format!("{}{of} bytes are kept: run the fetch again to go on", part.len()))
}

/// Refuses to begin what the disk has no room for. Files of unknown size count for nothing, and what is already there of a part
/// for what it is; an archive that is to be unpacked counts twice, as what it holds has at least its own size. Unpacking counts
/// once more, and better.
fn check_room(manifest: &Manifest, data: &Path, lacking: &[&ManifestFile]) -> Result<()> {
    let here =
        |file: &ManifestFile| std::fs::metadata(part::path_of(&manifest.path(data, file))).map_or(0, |part| part.len());
    let unpacked = |file: &ManifestFile| {
        let to_come = file.unpack && !unpack::folder_of(manifest, data, file).exists();
        if to_come { file.bytes.unwrap_or(0) } else { 0 }
    };
    let rest = |file: &ManifestFile| file.bytes.unwrap_or(0).saturating_sub(here(file));
    let sizes = lacking.iter().flat_map(|file| [rest(file), unpacked(file)]);
    room::check(&manifest.name, sizes.fold(0, u64::saturating_add), data)
}

/// Copies a local file into the part, from its beginning.
fn copy(path: &Path, part: &mut Part, file: &ManifestFile, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    let missing = || Error::Missing { path: path.to_owned(), mend: format!("the source must hold {}", file.name) };
    let mut source = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => Error::io(path)(error),
    })?;
    part.restart()?;
    let size = file.bytes.or(source.metadata().ok().map(|source| source.len()));
    let mut buffer = vec![0; 1 << 16];
    while file.bytes.is_none_or(|bytes| part.len() <= bytes) {
        progress(Progress { file, done: part.len(), size });
        let read = source.read(&mut buffer).map_err(Error::io(path))?;
        if read == 0 {
            break;
        }
        part.append(&buffer[..read])?;
    }
    Ok(())
}

/// Gives the part its name if it is what the manifest says; removes it if not.
fn accept(part: Part, target: &Path, file: &ManifestFile, origin: &Origin) -> Result<()> {
    let Some(Difference { what, found, expected }) = part.difference(file)? else { return part.finish(target) };
    part.discard()?;
    Err(match origin {
        Origin::Path(path) => Error::Corrupt {
            path: path.clone(),
            what,
            found,
            expected,
            mend: "give an intact copy; nothing was kept".into(),
        },
        Origin::Url(url) => {
            let problem = format!(
                "what arrived has {what} {found} but the manifest says {expected}; nothing was kept: try again, or use --from DIR or DML_MIRROR=DIR|URL"
            );
            Error::Download { url: url.clone(), problem }
        }
    })
}
