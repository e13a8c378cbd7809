//! Unpacks the archives of a data set, so that nothing leaves its folder and nothing half done carries its name.
//!
//! Zip, tar and gzipped tar, recognised by their first bytes. Links, device files, absolute paths and `..` are refused; what
//! macOS adds (`__MACOSX/`, `._*`) is passed over. An archive grows in `<folder>.unpacking` and gets its name when it is
//! whole and on the disk; one process at a time does it, the others are told. What the disk has no room for is not begun.

use crate::catalog::stays_inside;
use crate::growing::{beside, finish_folder, locked};
use crate::{Error, Manifest, ManifestFile, Result, room};
use flate2::read::MultiGzDecoder;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Most bytes of a tar archive from the end of one file to the next: its header, a long name, what a header has no room
/// for. They are held in memory.
const LARGEST_HEADER: u64 = 1 << 20;
/// Bytes of a disk that a file takes at least.
const BLOCK: u64 = 4096;

/// How much an archive may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files; default 4 million.
    pub files: u64,
    /// Most bytes of all files together; default 1 TiB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 1 << 22, bytes: 1 << 40 }
    }
}

/// Unpacks each archive of `manifest` that is to be unpacked into its folder below `data`, and gives the folders that it
/// made. `car_ims.tgz` becomes `car_ims/`; what is there already stays as it is.
///
/// # Errors
/// When an archive is missing ([`Error::Missing`]), damaged, holds what it must not, or more than the disk has room for.
pub fn set(manifest: &Manifest, data: &Path, limits: Limits) -> Result<Vec<PathBuf>> {
    let mut made = vec![];
    for file in manifest.files.iter().filter(|file| file.unpack) {
        let path = manifest.path(data, file);
        let folder = folder_of(manifest, data, file);
        if folder.exists() {
            // A process that was killed just after it had named the folder leaves the empty one around it.
            clear(&growing_of(&folder))?;
            remove(&lock_of(&folder))?;
            continue;
        }
        if !path.exists() {
            return Err(Error::Missing { path, mend: format!("run {}", manifest.fetch_command()) });
        }
        archive(&path, &folder, limits)?;
        made.push(folder);
    }
    Ok(made)
}

/// What the archive `file` becomes.
pub(crate) fn folder_of(manifest: &Manifest, data: &Path, file: &ManifestFile) -> PathBuf {
    manifest.folder(data).join(stem(&file.name))
}

/// Unpacks one archive into the new folder `target`. If all of it lies in one folder of the same name, that one becomes
/// `target`.
///
/// # Errors
/// When `target` exists, the archive is none or damaged, holds what it must not, or more than `limits` allow or the disk has
/// room for, as far as the archive says it: a zip archive in its directory; another is taken to hold as much as it is long.
/// `target` is not made then.
pub fn archive(archive: &Path, target: &Path, limits: Limits) -> Result<()> {
    let growing = growing_of(target);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(Error::access(folder))?;
    }
    let lock_path = lock_of(target);
    let lock = locked(&lock_path).map_err(Error::access(&lock_path))?;
    if lock.is_none() {
        return Err(Error::format(&growing, "another process is unpacking this archive: wait for it or end it"));
    }
    let outcome = unpack_into(archive, target, &growing, limits);
    remove(&lock_path)?;
    outcome
}

/// What [`archive`] does behind its lock: another process may have finished just before.
fn unpack_into(archive: &Path, target: &Path, growing: &Path, limits: Limits) -> Result<()> {
    if target.exists() {
        return Err(Error::format(target, "exists already: remove it to unpack anew"));
    }
    clear(growing)?;
    fs::create_dir_all(growing).map_err(Error::access(growing))?;
    let mut sink = Sink { archive, root: growing, left: limits };
    let outcome = unpack(archive, &mut sink).and_then(|()| give_name(growing, target));
    clear(growing)?;
    outcome
}

/// Whose lock a process has that unpacks into `target`.
fn lock_of(target: &Path) -> PathBuf {
    beside(target, ".unpacking.lock")
}

/// Removes the file at `path`, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::access(path)(error)),
        _ => Ok(()),
    }
}

/// Where the folder `target` grows.
fn growing_of(target: &Path) -> PathBuf {
    beside(target, ".unpacking")
}

/// Removes `folder` if it is there.
fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::access(folder)(error)),
        _ => Ok(()),
    }
}

/// `a.tar.gz` to `a`.
pub(crate) fn stem(name: &str) -> &str {
    [".tar.gz", ".tgz", ".tar", ".zip"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Moves `growing`, or the only folder in it if that is called like `target`, to `target`.
fn give_name(growing: &Path, target: &Path) -> Result<()> {
    let entries =
        fs::read_dir(growing).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(Error::io(growing))?;
    let whole = match entries.as_slice() {
        [only] if only.path().is_dir() && Some(only.file_name().as_os_str()) == target.file_name() => only.path(),
        _ => growing.to_owned(),
    };
    finish_folder(&whole, target).map_err(Error::access(target))
}

fn unpack(archive: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let mut file = File::open(archive).map_err(Error::io(archive))?;
    let mut magic = vec![];
    (&mut file).take(262).read_to_end(&mut magic).map_err(Error::io(archive))?;
    let bytes = file.metadata().map_err(Error::io(archive))?.len();
    file.seek(SeekFrom::Start(0)).map_err(Error::io(archive))?;
    match magic.as_slice() {
        [b'P', b'K', ..] => from_zip(archive, file, sink),
        [0x1f, 0x8b, ..] => {
            sink.expect(bytes)?;
            from_tar(archive, MultiGzDecoder::new(BufReader::new(file)), sink)
        }
        _ if magic.get(257..262) == Some(b"ustar") => {
            sink.expect(bytes)?;
            from_tar(archive, BufReader::new(file), sink)
        }
        _ => Err(Error::format(archive, "not a zip, tar or tar.gz archive: bring it anew")),
    }
}

fn from_zip(path: &Path, file: File, sink: &mut Sink<'_>) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::format(path, format!("not a readable zip archive ({error}): bring it anew"))
    };
    let bytes = file.metadata().map_err(Error::io(path))?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&error))?;
    // A directory that was written before the sizes were known does not say them.
    let said = archive.decompressed_size().map_or(bytes, |said| u64::try_from(said).unwrap_or(u64::MAX));
    sink.expect(said.saturating_add(archive.len() as u64 * BLOCK))?;
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|error| damaged(&error))?;
        let name = std::str::from_utf8(entry.name_raw()).map_err(|error| damaged(&error))?.to_owned();
        match (entry.is_symlink(), name.ends_with('/')) {
            (true, _) => return Err(sink.refused(&name, "is a link")),
            (false, true) => sink.folder(&name)?,
            (false, false) => sink.file(&name, entry)?,
        }
    }
    Ok(())
}

fn from_tar(path: &Path, stream: impl Read, sink: &mut Sink<'_>) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::format(path, format!("not a readable tar archive ({error}): bring it anew"))
    };
    let left = Cell::new(LARGEST_HEADER);
    let mut archive = tar::Archive::new(Metered { stream, left: &left });
    for entry in archive.entries().map_err(|error| damaged(&error))? {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        left.set(u64::MAX);
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|error| damaged(&error))?;
        use tar::EntryType::{Continuous, Directory, GNUSparse, Regular, XGlobalHeader};
        let kind = entry.header().entry_type();
        match kind {
            Regular | Continuous | GNUSparse => sink.file(&name, &mut entry)?,
            Directory => sink.folder(&name)?,
            XGlobalHeader => {}
            other => return Err(sink.refused(&name, &format!("is neither file nor folder ({other:?})"))),
        }
        // What was passed over is no header. A sparse file may claim holes without end, so it is never read through.
        if kind != GNUSparse {
            io::copy(&mut entry, &mut io::sink()).map_err(|error| damaged(&error))?;
        }
        left.set(LARGEST_HEADER);
    }
    Ok(())
}

/// A stream that gives `left` more bytes and then an error.
struct Metered<'a, R> {
    stream: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other(format!("headers and names of more than {LARGEST_HEADER} bytes")));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.stream.read(&mut buffer[..most])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

/// Where files go, and how much more may come.
struct Sink<'a> {
    archive: &'a Path,
    root: &'a Path,
    left: Limits,
}

impl Sink<'_> {
    fn refused(&self, name: &str, why: &str) -> Error {
        Error::format(self.archive, format!("entry `{name}` {why}: do not use this archive"))
    }

    /// Refuses to begin what the disk has no room for.
    fn expect(&self, bytes: u64) -> Result<()> {
        let name = self.archive.file_name().unwrap_or_default().to_string_lossy();
        room::check(&format!("what {name} holds"), bytes, self.root)
    }

    /// Where `name` goes; none if macOS left it.
    fn place(&self, name: &str) -> Result<Option<PathBuf>> {
        if !stays_inside(name) {
            return Err(self.refused(name, "leads out of its folder"));
        }
        let residue = name.split('/').any(|part| part == "__MACOSX" || part.starts_with("._"));
        Ok((!residue).then(|| self.root.join(name)))
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        let Some(path) = self.place(name)? else { return Ok(()) };
        self.count(name)?;
        fs::create_dir_all(&path).map_err(Error::access(&path))
    }

    fn file(&mut self, name: &str, content: impl Read) -> Result<()> {
        let Some(path) = self.place(name)? else { return Ok(()) };
        self.count(name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::access(folder))?;
        }
        let mut file = File::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.refused(name, "occurs twice"),
            _ => Error::access(&path)(error),
        })?;
        // The size in a header is a claim: what is read is what counts.
        let limit = self.left.bytes;
        let copied =
            io::copy(&mut content.take(limit.saturating_add(1)), &mut file).map_err(|error| match error.kind() {
                // What a disk says and an archive cannot.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::access(&path)(error),
                _ => self.refused(name, &format!("cannot be unpacked ({error})")),
            })?;
        self.left.bytes =
            limit.checked_sub(copied).ok_or_else(|| self.refused(name, "is more than the limit of bytes"))?;
        Ok(())
    }

    fn count(&mut self, name: &str) -> Result<()> {
        let left =
            self.left.files.checked_sub(1).ok_or_else(|| self.refused(name, "is more than the limit of files"))?;
        self.left.files = left;
        Ok(())
    }
}
