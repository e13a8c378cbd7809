//! Decoded images in a file that is mapped into memory: a set larger than memory is decoded once, and later runs start at once.
//!
//! A cache gets its name when it is whole and is never written again, so that who has it mapped sees the same bytes to the end.
//! Other programs must leave it alone as long; to delete it is no harm, nor is it to give its name to another file.

mod layout;
mod stamps;
mod writing;

use crate::image::{Pipeline, Unreadable};
use crate::inputs::{ByteInputs, Draw, FileImages, Inputs};
use crate::{Error, Image, Normalize, Result};
use layout::{Contents, Origin};
use memmap2::Mmap;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// [`FileImages`] decoded once: the file holds what the first steps of their pipeline make, those that draw nothing, and the
/// other steps follow each time, from the same draws. So inputs are those of [`FileImages`] to the bit.
///
/// Of `[{resize = 256}, {random_resized_crop = 224}]` the file holds images whose shorter side is 256, of
/// `[{resize = 256}, {center_crop = 224}]` squares of 224, and of a pipeline whose first step is random the images as they are in
/// their files, which takes most room.
///
/// ```no_run
/// use dml_data::image::{Decoder, Preset, Unreadable};
/// use dml_data::{CachedImages, FileImages, sources};
/// use std::{path::Path, sync::Arc};
///
/// let preset = Preset::named("mlrc")?;
/// let train = sources::open("cars-196", Path::new("data"))?.part("train")?;
/// let images = Arc::new(FileImages::new(train, Decoder::default(), preset.train, preset.normalize)?);
/// let cached = CachedImages::open_or_make(images, "cars-196-train-256.cache", Unreadable::Fail, &mut |_done| ())?;
/// # Ok::<(), dml_data::Error>(())
/// ```
pub struct CachedImages {
    images: Arc<FileImages>,
    path: PathBuf,
    bytes: Mmap,
    contents: Contents,
    /// The steps that follow.
    rest: Pipeline,
}

impl CachedImages {
    /// The cache of `images` at `path`; their files need not be there any more.
    ///
    /// Their pipeline may differ from the one the cache was made with in all but the steps that the cache has behind it. Files that
    /// are there must be those it was made of, as far as their length and the time of their last change tell.
    ///
    /// # Errors
    /// [`Error::Format`] when it is no whole cache, or was made of another set, other paths or boxes, by another decoder or
    /// other first steps, or of files that have changed since, also ones that could not be read: it says which.
    pub fn open(images: Arc<FileImages>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::current(&images, path)?.map_err(|outdated| outdated.refused(path))
    }

    /// The cache at `path`, if it is not outdated.
    fn current(images: &Arc<FileImages>, path: &Path) -> Result<Result<Self, Outdated>> {
        let (bytes, origin) = (map(path)?, Origin::of(images));
        let contents = match Contents::read(&bytes) {
            Ok(contents) => contents,
            // It may be replaced, but not where another set has it.
            Err(problem) if layout::of_version_1(&bytes).is_some_and(|old| old.difference(&origin).is_none()) => {
                let lost = match images.catalog().check_files() {
                    Err(Error::Format { path, .. }) => Some(path),
                    _ => None,
                };
                return Ok(Err(Outdated { problem, lost }));
            }
            Err(problem) => {
                return Err(Error::format(path, format!("{problem}: delete it to have it made again")));
            }
        };
        let others = |difference: String| {
            let mend = "delete the file to have it made again, or choose another";
            Error::format(path, format!("{difference}: {mend}"))
        };
        if let Some(difference) = contents.origin.difference(&origin) {
            return Err(others(difference));
        }
        let since = stamps::since(images.catalog(), contents.stamps(&bytes));
        let since = since.ok_or_else(|| others("is a cache of images of another number of files".into()))?;
        if let Some(changed) = since.changed {
            let problem = format!("was made before {} was changed", changed.display());
            return Ok(Err(Outdated { problem, lost: since.lost }));
        }
        let rest = Pipeline { steps: images.pipeline.steps[contents.origin.transforms.steps.len()..].to_vec() };
        Ok(Ok(Self { images: images.clone(), path: path.to_owned(), bytes, contents, rest }))
    }

    /// The cache of `images` at `path`, which is made first if there is none, or one of files that have changed since or of an
    /// earlier version of this program: by all of rayon's threads, with a few images for each in memory. `progress` is told after
    /// each sample how many are done.
    ///
    /// It takes the place of an outdated one when it is whole, and only where all files are still there that this one was made of.
    /// It grows as `<path>.part`; when the work is ended, the next begins it anew. Under [`Unreadable::Skip`] samples whose files
    /// cannot be read are recorded, are in [`unreadable`](Self::unreadable), and give their error whenever they are asked for.
    ///
    /// # Errors
    /// As [`open`](Self::open); when an image cannot be read or the file not be written; and when the decoder reduces files as a
    /// random first step asks, of which nothing can be kept.
    pub fn open_or_make(
        images: Arc<FileImages>,
        path: impl AsRef<Path>,
        unreadable: Unreadable,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let path = path.as_ref();
        let ready = || match path.exists() {
            true => match Self::current(&images, path)? {
                Ok(cache) => Ok(Some(cache)),
                Err(outdated) if outdated.lost.is_none() => Ok(None),
                Err(outdated) => Err(outdated.refused(path)),
            },
            false => Ok(None),
        };
        if let Some(cache) = ready()? {
            return Ok(cache);
        }
        writing::make(&images, path, unreadable, &|| Ok(ready()?.is_none()), progress)?;
        Self::open(images, path)
    }

    /// The cache of `images` in `folder`, under a name that follows from what it is made of, so that one folder serves many sets,
    /// decoders and pipelines; otherwise as [`open_or_make`](Self::open_or_make).
    ///
    /// # Errors
    /// As there.
    pub fn open_or_make_in(
        images: Arc<FileImages>,
        folder: impl AsRef<Path>,
        unreadable: Unreadable,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let path = folder.as_ref().join(file_name(&Origin::of(&images))?);
        Self::open_or_make(images, path, unreadable, progress)
    }

    /// The samples whose files could not be read when the cache was made, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (usize, &str)> {
        self.contents.unreadable.iter().map(|(&index, note)| (index, note.problem.as_str()))
    }

    /// Sample `index` as the file has it.
    fn stored(&self, index: usize) -> Result<Image> {
        if let Some(note) = self.contents.unreadable.get(&index) {
            return Err(Error::format(Path::new(&note.path), note.problem.as_str()));
        }
        let Some((place, pixels)) = self.contents.image(&self.bytes, index) else {
            let (path, n) = (self.path.display(), self.contents.origin.samples);
            return Err(Error::Invalid(format!("{path}: sample {index} does not exist: there are {n}")));
        };
        Image::new(place.width as usize, place.height as usize, self.contents.origin.decoder.channels, pixels.to_vec())
    }
}

/// Why a cache is to be made again.
struct Outdated {
    problem: String,
    /// A file without which what is made again would lack what the cache has.
    lost: Option<PathBuf>,
}

impl Outdated {
    /// What is said where nothing is made.
    fn refused(self, path: &Path) -> Error {
        let mend = match self.lost {
            Some(lost) => format!("bring back {} and delete this file, to have it made again", lost.display()),
            None => "delete it to have it made again".to_owned(),
        };
        Error::format(path, format!("{}: {mend}", self.problem))
    }
}

/// What a cache of that origin is called: its set, and a digest of all that it is made of.
fn file_name(origin: &Origin) -> Result<String> {
    let set: String = origin.set.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let digest = Sha256::digest(writing::json(origin)?);
    let digits: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{set}-{digits}.cache"))
}

/// The bytes of a file, brought in by the system as they are touched.
fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: the map is read-only and private to its holder. This crate never changes a file of that name; another process that
    // does so changes pixels or ends this process, and the module says that it must not, as for every mapped file.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

impl Inputs for CachedImages {
    fn name(&self) -> &str {
        self.images.name()
    }

    fn labels(&self) -> &[u32] {
        self.images.labels()
    }

    fn class_names(&self) -> &[String] {
        self.images.class_names()
    }

    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn id(&self, index: usize) -> String {
        self.images.id(index)
    }

    fn picture(&self, index: usize) -> Result<Option<Image>> {
        self.image(index, None).map(Some)
    }

    fn as_bytes(self: Arc<Self>) -> Option<Arc<dyn ByteInputs>> {
        Some(self)
    }

    fn check(&self) -> Result<()> {
        self.images.check()
    }

    fn write(&self, index: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()> {
        self.normalize().write(&self.image(index, draw)?, out)
    }
}

impl ByteInputs for CachedImages {
    fn image(&self, index: usize, draw: Option<Draw>) -> Result<Image> {
        self.rest.apply(self.stored(index)?, &mut FileImages::stream(index, draw))
    }

    fn normalize(&self) -> &Normalize {
        self.images.normalize()
    }
}
