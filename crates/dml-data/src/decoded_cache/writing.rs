//! Makes the file of a cache.

use super::layout::{Note, Origin, Place, front, pixels_start};
use super::stamps;
use crate::growing::{beside, finish, locked_as};
use crate::image::Unreadable;
use crate::inputs::FileImages;
use crate::{Error, Image, Prefetch, Result};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes the cache of `images` at `path`, in the place of one that is there, unless it is no more `wanted`: another process has
/// just made it.
pub(super) fn make(
    images: &Arc<FileImages>,
    path: &Path,
    unreadable: Unreadable,
    wanted: &dyn Fn() -> Result<bool>,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let origin = Origin::of(images);
    if images.decoder.reduce && origin.transforms.steps.is_empty() {
        return Err(Error::Invalid(
            "decoder.reduce = true reads a file as far as the first step asks, so nothing can be kept where that step is random: \
             put a resize before it, or set decoder.reduce = false"
                .into(),
        ));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let part = beside(path, ".part");
    let how = OpenOptions::new().write(true).create(true).truncate(false).clone();
    let Some(file) = locked_as(&part, &how).map_err(Error::io(&part))? else {
        return Err(Error::format(&part, "another process is making this cache: wait for it or end it"));
    };
    let wanted = wanted();
    if !matches!(wanted, Ok(true)) {
        fs::remove_file(&part).map_err(Error::io(&part))?;
        return wanted.map(drop);
    }
    let made = fill(&file, &part, images, &origin, unreadable, progress);
    if let Err(error) = made {
        // The room is given back, but not the name: who waits for the lock would hold a file without one.
        let _ = file.set_len(0);
        return Err(error);
    }
    finish(file, &part, path, |path, error| Error::io(path)(error))
}

fn fill(
    file: &File,
    part: &Path,
    images: &Arc<FileImages>,
    origin: &Origin,
    unreadable: Unreadable,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let description = json(origin)?;
    // Before they are read: what is changed meanwhile is found to differ.
    let stamps = stamps::of(images.catalog());
    let start = pixels_start(&description, origin.samples, stamps.len());
    file.set_len(0).map_err(Error::io(part))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.seek(SeekFrom::Start(start)).map_err(Error::io(part))?;
    let (mut places, mut notes, mut offset) = (Vec::with_capacity(origin.samples), vec![], start);
    for (index, image) in decoded(images, origin).enumerate() {
        let mut lost = vec![];
        let (mut height, mut width) = (0, 0);
        if let Some(image) = unreadable.settle(image?, &mut lost)? {
            // No side is above 16,384.
            (height, width) = (image.height as u32, image.width as u32);
            out.write_all(&image.pixels).map_err(Error::io(part))?;
        }
        places.push(Place { offset, height, width });
        notes.extend(lost.into_iter().map(|error| note(index, error)));
        offset += u64::from(height) * u64::from(width) * origin.decoder.channels as u64;
        progress(index + 1);
    }
    let notes = json(&notes)?;
    // The head comes last: without it the file is no cache.
    let front = front(&description, &places, &stamps, &notes)?;
    let end = out.write_all(&notes).and_then(|()| out.seek(SeekFrom::Start(0))).and_then(|_| out.write_all(&front));
    end.and_then(|()| out.flush()).map_err(Error::io(part))
}

/// The images in their order. The outer result is of the work, the inner one of the file.
fn decoded(images: &Arc<FileImages>, origin: &Origin) -> Prefetch<Result<Image>> {
    let (images, kept, threads) = (images.clone(), origin.transforms.clone(), rayon::current_num_threads());
    let decode = move |index| Ok(images.load(index, &kept, &mut FileImages::stream(index, None)));
    Prefetch::new(0..origin.samples, decode, threads, 2 * threads)
}

fn note(index: usize, error: Error) -> Note {
    let (path, problem) = match error {
        Error::Format { path, problem } => (path, problem),
        Error::Io { path, source } => (path, source.to_string()),
        other => (PathBuf::new(), other.to_string()),
    };
    Note { index, path: path.display().to_string(), problem }
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::Invalid(format!("what a cache is made of cannot be written: {error}")))
}
