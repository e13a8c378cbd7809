//! Whether the files of a set are still those that a cache was made of.

use crate::Catalog;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that a cache has for a file.
pub(super) const ROW: usize = 16;

/// What tells a file from another that had its path before, without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
}

impl Stamp {
    /// Of no file.
    const ABSENT: Self = Self { bytes: u64::MAX, modified: 0 };

    /// Of the file at `path` as it is now.
    fn of(path: &Path) -> Self {
        let Ok(file) = path.metadata() else { return Self::ABSENT };
        // A system that keeps no such time still has the length.
        Self { bytes: file.len(), modified: file.modified().map_or(0, nanoseconds) }
    }

    pub(super) fn to_bytes(self) -> [u8; ROW] {
        let mut row = [0; ROW];
        row[..8].copy_from_slice(&self.bytes.to_le_bytes());
        row[8..].copy_from_slice(&self.modified.to_le_bytes());
        row
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    let clamped = |nanoseconds: u128| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => clamped(after.as_nanos()),
        Err(before) => -clamped(before.duration().as_nanos()),
    }
}

/// The stamp of each file that holds samples of `catalog`.
pub(super) fn of(catalog: &Catalog) -> Vec<Stamp> {
    catalog.held_first().into_par_iter().map(|sample| Stamp::of(&catalog.holder(sample))).collect()
}

/// What has become of files since a cache was made of them: the first one of each kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    /// It is another one, or was not there then.
    pub(super) changed: Option<PathBuf>,
    /// It is not there any more.
    pub(super) lost: Option<PathBuf>,
}

/// What has become of the files of `catalog` since they were as `then` says; `None`: they were not as many.
pub(super) fn since(catalog: &Catalog, then: &[u8]) -> Option<Since> {
    let (held, now) = (catalog.held_first(), of(catalog));
    if then.len() != ROW * now.len() {
        return None;
    }
    let mut since = Since::default();
    for ((sample, now), then) in held.into_iter().zip(now).zip(then.chunks_exact(ROW)) {
        if now.to_bytes() != then {
            let place = if now == Stamp::ABSENT { &mut since.lost } else { &mut since.changed };
            place.get_or_insert_with(|| catalog.holder(sample));
        }
    }
    Some(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CatalogBuilder, FileEntry, Files, Membership, Span};
    use std::fs;
    use std::time::Duration;

    #[test]
    fn times_before_1970_and_beyond_count() {
        assert_eq!(nanoseconds(UNIX_EPOCH + Duration::from_nanos(5)), 5);
        assert_eq!(nanoseconds(UNIX_EPOCH - Duration::from_nanos(5)), -5);
        let far = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 40));
        assert!(far.is_none_or(|far| nanoseconds(far) == i64::MAX));
    }

    #[test]
    fn an_archive_has_one_stamp_and_a_file_its_own() {
        let root = tempfile::tempdir().unwrap();
        let mut files = Files::below(root.path());
        let archives = ["x.tar", "y.tar"].map(|name| files.archive(root.path().join(name)));
        let mut builder = CatalogBuilder::new("toy", root.path(), files);
        for (path, archive) in [("a", Some(1)), ("b", None), ("c", Some(0)), ("d", Some(1)), ("e", None)] {
            let span = archive.map(|archive: usize| Span { archive: archives[archive], offset: 0, bytes: 1 });
            builder.add(Membership::new("one", "all"), FileEntry { path, bounding_box: None, span }).unwrap();
        }
        let catalog = builder.finish();
        let names = |catalog: &Catalog| {
            let name = |sample| catalog.holder(sample).file_name().unwrap().to_string_lossy().into_owned();
            catalog.held_first().into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&catalog), ["y.tar", "b", "x.tar", "e"]);
        assert_eq!(names(&catalog.select(&[3, 0, 4])), ["y.tar", "e"]);

        for name in ["x.tar", "y.tar", "b"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let then: Vec<u8> = of(&catalog).into_iter().flat_map(Stamp::to_bytes).collect();
        assert_eq!(since(&catalog, &then), Some(Since::default()));
        assert_eq!(since(&catalog, &then[ROW..]), None);
        fs::remove_file(root.path().join("x.tar")).unwrap();
        let lost = Some(root.path().join("x.tar"));
        assert_eq!(since(&catalog, &then), Some(Since { changed: None, lost: lost.clone() }));
        // One that was not there, and one of another length.
        fs::write(root.path().join("e"), "e").unwrap();
        assert_eq!(since(&catalog, &then), Some(Since { changed: Some(root.path().join("e")), lost: lost.clone() }));
        fs::write(root.path().join("b"), "longer").unwrap();
        assert_eq!(since(&catalog, &then), Some(Since { changed: Some(root.path().join("b")), lost }));
    }
}
