//! Images decoded once into a file, against the same decoded each time.

mod pictures;

use dml_data::image::{Decoder, Extent, Pipeline, RandomResizedCrop, Resize, Size, Step, Unreadable};
use dml_data::{
    Batch, CachedImages, Error, FileImages, Inputs, Loader, LoaderOptions, Normalize, PkSampler, Result, input_batches,
};
use pictures::{catalog, moving, still};
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// `first`, and then a random crop and a flip.
fn after(first: Resize) -> Pipeline {
    Pipeline { steps: [vec![Step::Resize(first)], moving().steps].concat() }
}

fn shorter(side: usize) -> Resize {
    Resize::from(Size::Shorter(side))
}

fn images(root: &Path, decoder: Decoder, pipeline: Pipeline) -> Arc<FileImages> {
    Arc::new(FileImages::new(catalog(root), decoder, pipeline, Normalize::half()).unwrap())
}

/// A folder with pictures, and the path of a cache in it.
fn folder() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("caches/toy.cache");
    (root, path)
}

fn make(images: &Arc<FileImages>, path: &Path) -> Result<CachedImages> {
    CachedImages::open_or_make(images.clone(), path, Unreadable::Fail, &mut |_| ())
}

fn refused(images: &Arc<FileImages>, path: &Path) -> String {
    match CachedImages::open(images.clone(), path) {
        Ok(_) => panic!("{} was taken", path.display()),
        Err(error) => error.to_string(),
    }
}

fn batches(inputs: Arc<dyn Inputs>, options: LoaderOptions) -> Vec<Batch> {
    let sampler = PkSampler::new(inputs.labels(), 3, 2, 5).unwrap();
    Loader::over(inputs, Box::new(sampler), (9, 1), options).take(7).map(Result::unwrap).collect()
}

#[test]
fn inputs_from_a_cache_are_those_from_files_to_the_bit() {
    let reduced = Decoder { reduce: true, ..Decoder::default() };
    let grey = Decoder { channels: 1, ..Decoder::default() };
    let small = Pipeline { steps: vec![Step::Resize(shorter(5)), Step::RandomResizedCrop(Extent::Square(4).into())] };
    let cases = [
        (Decoder::default(), after(shorter(18))),
        (Decoder::default(), after(Resize::from(Size::Exact([20, 22])))),
        (Decoder::default(), moving()),
        (Decoder::default(), still()),
        (grey, after(shorter(18))),
        (reduced, small),
    ];
    for (decoder, pipeline) in cases {
        let (root, path) = folder();
        let files = images(root.path(), decoder, pipeline.clone());
        let mut done = vec![];
        let cached = CachedImages::open_or_make(files.clone(), &path, Unreadable::Fail, &mut |n| done.push(n));
        let cached = Arc::new(cached.unwrap());
        assert_eq!(done, (1..=24).collect::<Vec<_>>());
        assert_eq!((cached.name(), cached.labels(), cached.shape()), (files.name(), files.labels(), files.shape()));
        let from_files = batches(files.clone(), LoaderOptions::default());
        let still: Vec<Batch> = input_batches(files.as_ref(), 10).map(Result::unwrap).collect();
        for workers in [1, 4] {
            let options = LoaderOptions { workers, ahead: 5, ..LoaderOptions::default() };
            assert!(batches(cached.clone(), options) == from_files, "{pipeline:?}, {workers} workers");
        }
        assert!(input_batches(cached.as_ref(), 7).flat_map(|batch| batch.unwrap().pixels).eq(pixels(&still)));
        // Later runs do not need the pictures.
        for class in 0..6 {
            fs::remove_dir_all(root.path().join(format!("c{class}"))).unwrap();
        }
        let mut told = 0;
        let again = CachedImages::open_or_make(files, &path, Unreadable::Fail, &mut |_| told += 1).unwrap();
        assert!(batches(Arc::new(again), LoaderOptions::default()) == from_files && told == 0);
    }
}

fn pixels(batches: &[Batch]) -> impl Iterator<Item = f32> {
    batches.iter().flat_map(|batch| batch.pixels.iter().copied())
}

#[test]
fn any_number_of_threads_makes_the_same_file() {
    let (root, _) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    let made = |threads: usize| {
        let path = root.path().join(format!("{threads}.cache"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make(&files, &path)).unwrap();
        fs::read(path).unwrap()
    };
    assert!(made(1) == made(5));
}

#[test]
fn a_cache_of_other_settings_is_refused_with_what_differs() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    make(&files, &path).unwrap();
    let with = |decoder, pipeline| images(root.path(), decoder, pipeline);
    let said = refused(&with(Decoder { orient: false, ..Decoder::default() }, after(shorter(18))), &path);
    assert!(said.contains("toy.cache") && said.contains("orient: true") && said.contains("orient: false"), "{said}");
    assert!(said.contains("delete the file to have it made again, or choose another"), "{said}");
    let said = refused(&with(Decoder::default(), after(shorter(19))), &path);
    assert!(said.contains("Shorter(18)") && said.contains("Shorter(19)"), "{said}");
    let said = refused(&with(Decoder::default(), moving()), &path);
    assert!(said.contains("Shorter(18)") && said.contains("[]"), "{said}");
    let other = |catalog| {
        Arc::new(FileImages::new(catalog, Decoder::default(), after(shorter(18)), Normalize::half()).unwrap())
    };
    let whole = catalog(root.path());
    let said = refused(&other(whole.part("train").unwrap()), &path);
    assert!(said.contains("\"toy\"") && said.contains("\"toy/train\""), "{said}");
    let said = refused(&other(whole.select(&[0, 1, 2])), &path);
    assert!(said.contains("24") && said.contains('3'), "{said}");
    let mut order: Vec<usize> = (0..24).collect();
    order.swap(3, 4);
    let said = refused(&other(whole.select(&order)), &path);
    assert!(said.contains("paths, boxes and order"), "{said}");
    // What follows the kept steps is free, and so are labels and normalisation.
    let normalised = other(whole.remapped());
    assert!(CachedImages::open(normalised, &path).is_ok());
    let center = Pipeline { steps: vec![Step::Resize(shorter(18)), still().steps[1].clone()] };
    let center = with(Decoder::default(), center);
    let from_cache = CachedImages::open(center.clone(), &path).unwrap();
    let read = |inputs: &dyn Inputs| input_batches(inputs, 24).next().unwrap().unwrap();
    assert!(read(&from_cache) == read(center.as_ref()));
}

#[test]
fn what_a_random_first_step_reduces_cannot_be_kept() {
    let (root, path) = folder();
    let steps = vec![Step::RandomResizedCrop(RandomResizedCrop::from(Extent::Square(4)))];
    let files = images(root.path(), Decoder { reduce: true, ..Decoder::default() }, Pipeline { steps });
    let error = make(&files, &path).err().unwrap().to_string();
    assert!(error.contains("decoder.reduce = false") && !path.exists(), "{error}");
}

#[test]
fn broken_files_end_the_work_or_are_recorded_and_named() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    let broken = root.path().join("c2/1.png");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(root.path().join("c4/2.jpg")).unwrap();
    let error = make(&files, &path).err().unwrap().to_string();
    assert!(error.contains("c2/1.png") && !path.exists(), "{error}");
    let cached = CachedImages::open_or_make(files.clone(), &path, Unreadable::Skip, &mut |_| ()).unwrap();
    let named: Vec<usize> = cached.unreadable().map(|(index, _)| index).collect();
    let path_of = |&index: &usize| files.catalog().path(index).to_owned();
    assert_eq!(named.iter().map(path_of).collect::<Vec<_>>(), ["c2/1.png", "c4/2.jpg"]);
    assert!(cached.unreadable().next().unwrap().1.contains("not a readable image"));
    let options = LoaderOptions { unreadable: Unreadable::Skip, ..LoaderOptions::default() };
    let (from_files, from_cache) = (batches(files, options), batches(Arc::new(cached), options));
    assert!(from_files == from_cache);
    assert!(from_files.iter().any(|batch| !batch.skipped.is_empty()));
}

#[test]
fn what_is_interrupted_has_no_name_and_is_begun_anew() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), still());
    let part = root.path().join("caches/toy.cache.part");
    let ended = std::panic::catch_unwind(|| {
        let mut stop = |n| assert!(n < 20, "on purpose");
        CachedImages::open_or_make(files.clone(), &path, Unreadable::Fail, &mut stop).map(|_| ())
    });
    assert!(ended.is_err() && !path.exists() && part.exists());
    fs::write(&part, vec![7; 1 << 17]).unwrap();
    let held = OpenOptions::new().append(true).open(&part).unwrap();
    held.lock().unwrap();
    let error = make(&files, &path).err().unwrap().to_string();
    assert!(error.contains("another process") && !path.exists(), "{error}");
    drop(held);
    make(&files, &path).unwrap();
    assert!(path.exists() && !part.exists());
    assert_eq!(fs::metadata(&path).unwrap().len() as usize / (24 * 768), 1, "nothing is left of what was there");
}

/// Makes the cache at `path` if it is not there or outdated, and says how many images were decoded for it.
fn told(images: &Arc<FileImages>, path: &Path) -> (Result<CachedImages>, usize) {
    let mut told = 0;
    let cached = CachedImages::open_or_make(images.clone(), path, Unreadable::Skip, &mut |_| told += 1);
    (cached, told)
}

fn touch(path: &Path) {
    let file = OpenOptions::new().append(true).open(path).unwrap();
    // A step that every file system keeps.
    file.set_modified(file.metadata().unwrap().modified().unwrap() + Duration::from_secs(2)).unwrap();
}

#[test]
fn pictures_that_changed_are_noticed_and_the_cache_made_anew() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    let old = Arc::new(make(&files, &path).unwrap());
    let (before, name) = (batches(old.clone(), LoaderOptions::default()), "c1/2.jpg");
    let (picture, other) = (root.path().join(name), root.path().join("c0/0.jpg"));
    assert_eq!(told(&files, &path).1, 0);
    let same_length = fs::metadata(&picture).unwrap().len();
    fs::copy(other, &picture).unwrap();
    OpenOptions::new().append(true).open(&picture).unwrap().set_len(same_length).unwrap();
    touch(&picture);
    let said = refused(&files, &path);
    assert!(said.contains("toy.cache: was made before") && said.contains(name), "{said}");
    assert!(said.contains("delete it to have it made again"), "{said}");
    let (new, decoded) = told(&files, &path);
    let new = batches(Arc::new(new.unwrap()), LoaderOptions::default());
    assert_eq!(decoded, 24);
    assert!(new == batches(files.clone(), LoaderOptions::default()) && new != before);
    assert!(!root.path().join("caches/toy.cache.part").exists());
    // Who has the old one mapped keeps it.
    assert!(batches(old, LoaderOptions::default()) == before);
    // A time is enough: that the bytes are the same is not known.
    touch(&picture);
    assert_eq!([told(&files, &path).1, told(&files, &path).1], [24, 0]);
}

#[test]
fn what_could_not_be_read_then_is_read_when_it_can_be() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    let (broken, missing) = (root.path().join("c2/1.png"), root.path().join("c4/2.jpg"));
    let [whole, away] = [&broken, &missing].map(|picture| fs::read(picture).unwrap());
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(&missing).unwrap();
    for (left, decoded) in [(2, 24), (2, 0), (1, 24), (0, 24), (0, 0)] {
        let (cached, told) = told(&files, &path);
        assert_eq!((cached.unwrap().unreadable().count(), told), (left, decoded));
        match left {
            2 if decoded == 0 => fs::write(&missing, &away).unwrap(),
            1 => fs::write(&broken, &whole).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn nothing_is_made_anew_where_it_would_lack_what_the_cache_has() {
    let (root, path) = folder();
    let files = images(root.path(), Decoder::default(), after(shorter(18)));
    make(&files, &path).unwrap();
    let gone = root.path().join("c3/1.png");
    let (picture, bytes) = (fs::read(&gone).unwrap(), fs::read(&path).unwrap());
    fs::remove_file(&gone).unwrap();
    let (cached, decoded) = told(&files, &path);
    assert!(cached.is_ok() && decoded == 0, "what is gone does no harm");
    touch(&root.path().join("c5/0.jpg"));
    // Nor is a cache of version 1 replaced then, whose head had no number of files.
    let old = [&bytes[..8], &[1], &bytes[9..24], &bytes[32..]].concat();
    for (bytes, problem) in [(bytes, "c5/0.jpg was changed"), (old, "is a cache of version 1")] {
        fs::write(&path, bytes).unwrap();
        let (cached, decoded) = told(&files, &path);
        let said = cached.err().unwrap().to_string();
        assert!(said.contains(problem) && said.contains("c3/1.png and delete this file") && decoded == 0, "{said}");
    }
    fs::write(&gone, picture).unwrap();
    let others = images(root.path(), Decoder::default(), after(shorter(19)));
    for said in [refused(&files, &path), told(&others, &path).0.err().unwrap().to_string()] {
        assert!(said.contains("is a cache of version 1") && said.contains("delete it"), "{said}");
    }
    assert_eq!([told(&files, &path).1, told(&files, &path).1], [24, 0]);
}

/// A cache with a broken picture, and what it is of.
struct Whole {
    root: TempDir,
    files: Arc<FileImages>,
    bytes: Vec<u8>,
}

impl Whole {
    fn new() -> Self {
        let (root, path) = folder();
        let files = images(root.path(), Decoder::default(), after(shorter(5)));
        fs::write(root.path().join("c2/1.png"), b"nothing").unwrap();
        CachedImages::open_or_make(files.clone(), &path, Unreadable::Skip, &mut |_| ()).unwrap();
        Self { root, files, bytes: fs::read(path).unwrap() }
    }

    /// Opens `bytes` as the cache, and reads all of it.
    fn read(&self, bytes: &[u8]) -> Result<()> {
        let path = tempfile::NamedTempFile::new_in(self.root.path()).unwrap().into_temp_path();
        fs::write(&path, bytes).unwrap();
        let cached = CachedImages::open(self.files.clone(), &path)?;
        let mut out = vec![0.0; 768];
        let failed = (0..25).filter(|&index| cached.write(index, None, &mut out).is_err()).count();
        assert_eq!(failed, 2, "the broken picture and one that does not exist");
        Ok(())
    }
}

#[test]
fn a_whole_file_is_read_and_others_are_not() {
    let whole = Whole::new();
    whole.read(&whole.bytes).unwrap();
    let longer = [&whole.bytes[..], b"[]"].concat();
    for other in [&b""[..], b"DMLIMAGE", &longer, &[0; 4096]] {
        assert!(matches!(whole.read(other), Err(Error::Format { .. })));
    }
    let mut newer = whole.bytes.clone();
    newer[8] += 1;
    let error = whole.read(&newer).unwrap_err().to_string();
    assert!(error.contains("version 3") && error.contains("delete it"), "{error}");
}

#[test]
fn no_bytes_make_it_panic() {
    let whole = Whole::new();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0usize..2, any::<u8>()), 0..6);
    let cut = prop::option::of(any::<prop::sample::Index>());
    proptest!(ProptestConfig::with_cases(400), |(changes in changes, cut in cut)| {
        let mut bytes = whole.bytes.clone();
        for (at, front, value) in changes {
            // Half of the changes are in the head, the description and the table.
            let at = at.index(if front == 1 { bytes.len() } else { 1024 });
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match whole.read(&bytes) {
            Ok(()) => prop_assert_eq!(bytes.len(), whole.bytes.len()),
            Err(error) => prop_assert!(matches!(error, Error::Format { .. }), "{}", error),
        }
    });
}

#[test]
fn no_noise_makes_it_panic() {
    let whole = Whole::new();
    let (head, noise) = (prop::collection::vec(0u8..4, 52), prop::collection::vec(any::<u8>(), 0..300));
    proptest!(ProptestConfig::with_cases(400), |(head in head, noise in noise)| {
        let bytes = [&b"DMLIMAGE\x02\0\0\0"[..], &head, &noise].concat();
        let refused = matches!(whole.read(&bytes), Err(Error::Format { .. }));
        prop_assert!(refused);
    });
}
