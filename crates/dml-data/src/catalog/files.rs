//! Samples that are files below a folder, or stretches of archives there.

use super::Samples;
use crate::strings::Strings;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Largest sample that is read, bytes: more is a mistake or an attack.
pub(crate) const LARGEST_SAMPLE: u64 = 1 << 28;

/// A stretch of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which archive, in the order of [`Files::archive`].
    pub archive: u32,
    /// Its first byte.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What a source says of one file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileEntry<'a> {
    /// Its path below the root, parts separated by `/`; in an archive, its name there.
    pub path: &'a str,
    /// Its box, `[x, y, width, height]`, in pixels of the image as the decoder gives it (see [`Decoder::orient`]);
    /// default none.
    ///
    /// [`Decoder::orient`]: crate::image::Decoder::orient
    pub bounding_box: Option<[f32; 4]>,
    /// Where it lies in an archive; default none: it is a file.
    pub span: Option<Span>,
}

impl<'a> FileEntry<'a> {
    /// The file at `path`.
    pub fn file(path: &'a str) -> Self {
        Self { path, bounding_box: None, span: None }
    }
}

/// Files below a root, in compact form.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
    archives: Vec<PathBuf>,
    paths: Strings,
    /// One a file, or empty: no boxes.
    boxes: Vec<Option<[f32; 4]>>,
    /// Whether an image is what its box holds.
    cut: bool,
    /// One a file, or empty: all are files of their own.
    spans: Vec<Option<Span>>,
}

impl Files {
    /// No files yet, below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), archives: vec![], paths: Strings::default(), boxes: vec![], cut: true, spans: vec![] }
    }

    pub(super) fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// The box that image `index` is cut to.
    pub(super) fn cut(&self, index: usize) -> Option<[f32; 4]> {
        self.bounding_box(index).filter(|_| self.cut)
    }

    /// Makes an archive known and gives the number that its spans carry.
    pub fn archive(&mut self, path: impl Into<PathBuf>) -> u32 {
        self.archives.push(path.into());
        self.archives.len() as u32 - 1
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, index: usize) -> &str {
        self.paths.get(index)
    }

    pub(super) fn bounding_box(&self, index: usize) -> Option<[f32; 4]> {
        assert!(index < self.paths.len(), "sample {index} of {}", self.paths.len());
        self.boxes.get(index).copied().flatten()
    }

    /// The archive that holds file `index`, and where.
    fn span(&self, index: usize) -> Option<(&Path, Span)> {
        let span = self.spans.get(index).copied().flatten()?;
        Some((&self.archives[span.archive as usize], span))
    }

    /// The file on the disk that holds file `index`: itself, or its archive.
    pub(super) fn holder(&self, index: usize) -> PathBuf {
        self.span(index).map_or_else(|| self.root.join(self.path(index)), |(archive, _)| archive.to_owned())
    }

    /// Of each of these one that it holds, the first.
    pub(super) fn held_first(&self) -> Vec<usize> {
        let mut known = vec![false; self.archives.len()];
        let first = |index: &usize| match self.spans.get(*index).copied().flatten() {
            Some(span) => !std::mem::replace(&mut known[span.archive as usize], true),
            None => true,
        };
        (0..self.paths.len()).filter(first).collect()
    }

    pub(super) fn exists(&self, index: usize) -> bool {
        match self.span(index) {
            Some((archive, span)) => archive.metadata().is_ok_and(|file| file.len() >= span.offset + span.bytes),
            None => self.root.join(self.path(index)).is_file(),
        }
    }

    /// SHA-256 of what makes the images, in their order: path, box if they are cut to it, and place in an archive. The root is
    /// left out, so that a set may be moved.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for index in 0..self.paths.len() {
            let sides = self.cut(index).map(|sides| sides.map(f32::to_le_bytes).concat());
            let place = self.span(index).map(|(archive, span)| {
                let name = archive.file_name().unwrap_or_default().to_string_lossy();
                [name.as_bytes(), &span.offset.to_le_bytes(), &span.bytes.to_le_bytes()].concat()
            });
            let (sides, place) = (sides.unwrap_or_default(), place.unwrap_or_default());
            for field in [self.path(index).as_bytes(), &sides, &place] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn read(&self, index: usize) -> Result<(PathBuf, Vec<u8>)> {
        let (path, span) = (self.holder(index), self.span(index).map(|(_, span)| span));
        let named = if span.is_some() { path.join(self.path(index)) } else { path.clone() };
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let size = match span {
            Some(span) => span.bytes,
            None => file.metadata().map_err(Error::io(&path))?.len(),
        };
        if size > LARGEST_SAMPLE {
            return Err(Error::format(&named, format!("has {size} bytes, more than {LARGEST_SAMPLE}: replace it")));
        }
        if let Some(span) = span {
            file.seek(SeekFrom::Start(span.offset)).map_err(Error::io(&path))?;
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(size).read_to_end(&mut bytes).map_err(Error::io(&named))?;
        if bytes.len() as u64 != size {
            let got = bytes.len();
            return Err(Error::format(&named, format!("has {size} bytes but {got} could be read: replace it")));
        }
        Ok((named, bytes))
    }
}

impl Samples for Files {
    type Item<'a> = FileEntry<'a>;

    fn push(&mut self, item: FileEntry<'_>) -> Result<()> {
        if !stays_inside(item.path) {
            return Err(Error::format(
                &self.root,
                format!("`{}` is no path below it: paths are relative, with `/` and without `..`", item.path),
            ));
        }
        if let Some(span) = item.span
            && (span.archive as usize >= self.archives.len() || span.offset.checked_add(span.bytes).is_none())
        {
            return Err(Error::format(&self.root, format!("`{}` lies in no archive: {span:?}", item.path)));
        }
        let n = self.paths.len();
        keep(&mut self.boxes, n, item.bounding_box);
        keep(&mut self.spans, n, item.span);
        self.paths.push(item.path);
        Ok(())
    }

    fn select(&self, indices: &[usize]) -> Self {
        Self {
            root: self.root.clone(),
            archives: self.archives.clone(),
            paths: self.paths.select(indices),
            boxes: chosen(&self.boxes, indices),
            cut: self.cut,
            spans: chosen(&self.spans, indices),
        }
    }
}

/// Appends value `n` to a column that is empty while there are none.
fn keep<T: Clone>(column: &mut Vec<Option<T>>, n: usize, value: Option<T>) {
    if !column.is_empty() || value.is_some() {
        column.resize(n, None);
        column.push(value);
    }
}

fn chosen<T: Copy>(column: &[Option<T>], indices: &[usize]) -> Vec<Option<T>> {
    if column.is_empty() { vec![] } else { indices.iter().map(|&i| column[i]).collect() }
}

/// Whether a path is relative, has no `..` and means the same on every system.
pub(crate) fn stays_inside(name: &str) -> bool {
    let absolute = name.is_empty() || name.starts_with('/') || name.contains(['\\', ':', '\0']);
    !absolute && name.split('/').all(|part| part != "..")
}
