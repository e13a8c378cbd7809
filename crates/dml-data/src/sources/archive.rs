//! Zip archives in memory: their files by name, without unpacking to disk.

use crate::catalog::stays_inside;
use crate::{Error, Result};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

/// Most files an archive may hold.
const MOST_ENTRIES: usize = 1 << 20;

/// A file of an archive.
pub(super) struct Entry {
    /// Its path in the archive, parts separated by `/`; relative and without `..`.
    pub(super) name: String,
    /// Its content.
    pub(super) bytes: Vec<u8>,
}

/// The files of the zip archive `bytes`, ordered by name, folders left out. `path` is for messages.
///
/// # Errors
/// When the archive is damaged, a name leads out of it or occurs twice, or a file is larger than `largest` bytes.
pub(super) fn entries(path: &Path, bytes: &[u8], largest: u64) -> Result<Vec<Entry>> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::format(path, format!("not a readable zip archive ({error}): replace it"))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    let count = archive.len();
    if count > MOST_ENTRIES {
        return Err(Error::format(path, format!("holds {count} files, more than {MOST_ENTRIES}: replace it")));
    }
    let mut entries = Vec::with_capacity(count);
    for i in 0..count {
        let file = archive.by_index(i).map_err(|error| damaged(&error))?;
        let name = std::str::from_utf8(file.name_raw()).map_err(|error| damaged(&error))?.to_owned();
        if !stays_inside(&name) {
            return Err(Error::format(path, format!("entry `{name}` leads out of the archive: do not use this file")));
        }
        if name.ends_with('/') {
            continue;
        }
        let mut content = vec![];
        // The size in the header is a claim: what is read is what counts.
        file.take(largest + 1)
            .read_to_end(&mut content)
            .map_err(|error| Error::format(&path.join(&name), format!("{error}: replace the archive")))?;
        if content.len() as u64 > largest {
            return Err(Error::format(
                &path.join(&name),
                format!("larger than {largest} bytes: do not use this archive"),
            ));
        }
        entries.push(Entry { name, bytes: content });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(Error::format(path, format!("entry `{}` occurs twice: replace the archive", pair[0].name))),
        None => Ok(entries),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// A zip archive of `files`.
    pub(in crate::sources) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(vec![]));
        for (name, bytes) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn message(bytes: &[u8]) -> String {
        entries(Path::new("x.zip"), bytes, 8).err().expect("an error").to_string()
    }

    #[test]
    fn files_come_ordered_and_folders_do_not() {
        let mut writer = ZipWriter::new(Cursor::new(vec![]));
        writer.add_directory("a/", SimpleFileOptions::default()).unwrap();
        for name in ["b.txt", "a/c.txt"] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        let files = entries(Path::new("x.zip"), writer.finish().unwrap().get_ref(), 8).unwrap();
        let names: Vec<&str> = files.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a/c.txt", "b.txt"]);
        assert_eq!(files[0].bytes, b"a/c.txt");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\..\\evil"] {
            // A writer mends such names, so one of the same length is overwritten.
            let plain = "x".repeat(name.len());
            let mut bytes = zip_of(&[(&plain, b"1")]);
            let places: Vec<usize> =
                (0..bytes.len() - plain.len()).filter(|&i| bytes[i..].starts_with(plain.as_bytes())).collect();
            assert_eq!(places.len(), 2, "the name stands before the file and in the directory");
            places.iter().for_each(|&at| bytes[at..at + name.len()].copy_from_slice(name.as_bytes()));
            assert_eq!(
                message(&bytes),
                format!("x.zip: entry `{name}` leads out of the archive: do not use this file")
            );
        }
    }

    #[test]
    fn large_files_and_damaged_archives_are_refused() {
        assert!(message(&zip_of(&[("a", &[0; 9])])).contains("larger than 8 bytes"));
        let whole = zip_of(&[("a", b"12345678")]);
        assert!(message(&whole[..whole.len() / 2]).contains("not a readable zip archive"));
        let mut altered = whole.clone();
        let at = (0..altered.len()).find(|&i| altered[i..].starts_with(b"a")).unwrap() + 1;
        altered[at + 1] ^= 0xff;
        assert!(message(&altered).starts_with("x.zip"), "{}", message(&altered));
    }
}
