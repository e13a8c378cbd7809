//! A gallery in one file, by redb: what was acknowledged survives a crash, and what was removed is gone from the file.

mod block;
#[cfg(feature = "ann")]
mod graph;
mod record;
mod store;

use crate::answer::Candidate;
use crate::memory::{candidates, check_length, check_settings};
use crate::roster::{Key, Roster};
use crate::searched::Part;
use crate::{Calibration, Change, Count, Embeddings, Error, Filter, Gallery, Identity, Model, Result, SampleId, Visit};
use dml_eval::identification::Templates;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use store::{Settings, Store};

#[cfg(feature = "ann")]
pub use graph::{IndexReport, IndexState};

/// A gallery in one file.
///
/// Every change is one transaction, on the disk when the call returns. A copy of what is searched lies in memory, `4·d` bytes a
/// row, so a search reads no file. One process at a time has it open.
///
/// A removal ends with the file written anew without what was removed, and put in its place: that costs as much as the whole
/// gallery does, so remove many at once. Where the process ends in between, the next opening does it. The blocks that the old
/// file had are the system's then; who must be sure of the disk itself encrypts it.
///
/// Searches are exact; with the feature `ann`, `build_index` puts an approximate index beside the file, for galleries of some
/// hundred thousand and more.
pub struct FileGallery {
    path: PathBuf,
    model: Model,
    templates: Templates,
    roster: RwLock<Roster>,
    /// Who holds it writes; readers take a copy of the second.
    writer: Mutex<Settings>,
    store: RwLock<Arc<Store>>,
    calibration: RwLock<Option<Calibration>>,
    #[cfg(feature = "ann")]
    graph: RwLock<Option<Arc<graph::Graph>>>,
}

impl FileGallery {
    /// A new, empty gallery at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// When there is a file of that name, it cannot be written, or the model's embeddings have length 0.
    pub fn create(path: impl AsRef<Path>, model: Model, templates: Templates) -> Result<Self> {
        Self::create_with(path, model, templates, |_| Ok(()))
    }

    /// A new gallery at `path` as `fill` leaves it: the file has its name once that is done, or never.
    ///
    /// # Errors
    /// As [`create`](Self::create), and what `fill` says.
    pub fn create_with(
        path: impl AsRef<Path>,
        model: Model,
        templates: Templates,
        fill: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        let path = path.as_ref();
        check_settings(&model)?;
        let io = |source| Error::Io { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok() {
            return Err(Error::Input(format!(
                "{}: there is such a file already: name another, or open it",
                path.display()
            )));
        }
        let temporary =
            tempfile::Builder::new().prefix(".").suffix(".creating").tempfile_in(folder(path)).map_err(io)?;
        let settings = Settings::new(model.clone(), templates);
        let store = Store::create(path, temporary.as_file().try_clone().map_err(io)?, &settings)?;
        let gallery = Self {
            path: temporary.path().to_owned(),
            roster: RwLock::new(Roster::new(model.clone(), templates)),
            model,
            templates,
            writer: Mutex::new(settings),
            store: RwLock::new(Arc::new(store)),
            calibration: RwLock::new(None),
            #[cfg(feature = "ann")]
            graph: RwLock::default(),
        };
        fill(&gallery)?;
        temporary.persist_noclobber(path).map_err(|error| io(error.error))?;
        sync_folder(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), ..gallery })
    }

    /// The gallery at `path`, every byte of it checked.
    ///
    /// # Errors
    /// When it is open elsewhere, there is none, it is no gallery, or it is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            let problem = "the file is empty, no gallery: remove it, or restore it from an export or a copy".to_owned();
            return Err(Error::Damaged { path: path.to_owned(), problem });
        }
        let opened = file.try_clone().map_err(io)?;
        let store = Store::open(path, file)?;
        // Between opening and locking another process may have put a new file in this one's place.
        if !is_the_same(&opened, path).map_err(io)? {
            return Err(Error::Busy(path.to_owned()));
        }
        let settings = store.settings()?;
        check_settings(&settings.model)?;
        let mut roster = Roster::new(settings.model.clone(), settings.templates);
        // Room for all at once: growing would copy them again and again. There are no more than numbers were given, or than the
        // file has place for.
        let bytes = opened.metadata().map_err(io)?.len();
        let place = bytes / (4 * settings.model.dim as u64);
        let most = |given: u64| usize::try_from(given.min(place)).unwrap_or(0);
        roster.reserve(most(settings.next_key), most(settings.next_sample));
        let (model, templates) = (&settings.model, settings.templates);
        let part = |identities, values| Part::new(model, templates, identities, values);
        store.for_each_part(model.dim, (settings.next_key, bytes), part, |parts| roster.load(parts))?;
        (roster.next, roster.revision) = (settings.next(), settings.revision);
        let gallery = Self {
            path: path.to_owned(),
            model: settings.model.clone(),
            templates: settings.templates,
            roster: RwLock::new(roster),
            calibration: RwLock::new(settings.calibration.clone()),
            writer: Mutex::new(settings),
            store: RwLock::new(Arc::new(store)),
            #[cfg(feature = "ann")]
            graph: RwLock::default(),
        };
        let mut settings = gallery.lock();
        #[cfg(feature = "ann")]
        gallery.open_index(&settings);
        if settings.erase {
            gallery.erase(&mut settings)?;
        } else {
            // What a process left that ended while it erased.
            let _ = fs::remove_file(gallery.beside());
        }
        drop(settings);
        Ok(gallery)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Arc<Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file that takes the place of this one when something was removed.
    fn beside(&self) -> PathBuf {
        PathBuf::from(format!("{}.erasing", self.path.display()))
    }

    /// Puts a file in the place of this one that has nothing of what was removed.
    fn erase(&self, settings: &mut Settings) -> Result<()> {
        let failed = |problem: String| Error::NotErased { path: self.path.clone(), problem };
        let beside = self.beside();
        let new = Settings { erase: false, ..settings.clone() };
        let write = || -> Result<Store> {
            let io = |source| Error::Io { path: beside.clone(), source };
            let _ = fs::remove_file(&beside);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&beside).map_err(io)?;
            file.set_permissions(fs::metadata(&self.path).map_err(io)?.permissions()).map_err(io)?;
            let store = self.store().copied(file, &new)?;
            // The old file stays locked until the new one has its name: nobody can open what is about to go.
            fs::rename(&beside, &self.path).map_err(io)?;
            Ok(store)
        };
        let store = write().map_err(|error| {
            let _ = fs::remove_file(&beside);
            failed(error.to_string())
        })?;
        // From here on the name leads to the new file, whatever else fails.
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(store);
        *settings = new;
        sync_folder(&self.path).map_err(|error| failed(error.to_string()))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name is on the disk once its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder(path))?.sync_all(),
        false => Ok(()),
    }
}

/// Whether the name still leads to this file.
#[cfg(unix)]
fn is_the_same(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (opened, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino()))
}

#[cfg(not(unix))]
fn is_the_same(_: &File, _: &Path) -> std::io::Result<bool> {
    Ok(true)
}

impl Gallery for FileGallery {
    fn model(&self) -> &Model {
        &self.model
    }

    fn templates(&self) -> Templates {
        self.templates
    }

    fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<Vec<SampleId>>> {
        let mut settings = self.lock();
        let store = self.store();
        let stored = |key: Key| {
            let lost = || Error::Input(format!("identity number {key} has no record"));
            store.record(key, self.model.dim)?.ok_or_else(lost)
        };
        let update = self.read().plan(changes, &stored)?;
        store.apply(&mut settings, &update)?;
        self.roster.write().unwrap_or_else(PoisonError::into_inner).commit(&update)?;
        drop(store);
        #[cfg(feature = "ann")]
        self.check_index(&settings);
        if settings.erase {
            self.erase(&mut settings)?;
        }
        Ok(update.samples)
    }

    fn count(&self, filter: &Filter) -> Result<Count> {
        Ok(self.read().count(filter))
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Identity>> {
        Ok(self.read().list(filter))
    }

    fn samples(&self, name: &str) -> Result<(Identity, Vec<f32>)> {
        let key = self.read().key(name)?;
        let record = self.store().record(key, self.model.dim)?;
        record.map(|record| (record.identity(), record.values)).ok_or_else(|| Error::NotEnrolled(name.to_owned()))
    }

    fn for_each(&self, visit: Visit<'_>) -> Result<()> {
        self.store().for_each(self.model.dim, &mut |_, record| visit(&record.identity(), &record.values))
    }

    fn nearest(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Candidate>>> {
        probes.check(&self.model)?;
        check_length(k)?;
        let roster = self.read();
        #[cfg(feature = "ann")]
        if let Some(found) = self.nearest_by_graph(&roster, probes.values, k, filter) {
            return Ok(candidates(&roster, found?));
        }
        Ok(candidates(&roster, roster.nearest(probes.values, k, filter)?))
    }

    fn scores(&self, probes: Embeddings<'_>, names: &[&str]) -> Result<Vec<f32>> {
        probes.check(&self.model)?;
        self.read().scores(probes.values, names)
    }

    #[cfg(feature = "ann")]
    fn refresh(&self, watch: dml_core::Watch<'_>) -> Result<bool> {
        self.refresh_index(watch)
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        Ok(self.calibration.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn set_calibration(&self, calibration: Option<&Calibration>) -> Result<()> {
        let mut settings = self.lock();
        let new = Settings { calibration: calibration.cloned(), ..settings.clone() };
        self.store().write_settings(&new)?;
        *settings = new;
        *self.calibration.write().unwrap_or_else(PoisonError::into_inner) = calibration.cloned();
        Ok(())
    }
}

impl FileGallery {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner)
    }
}
