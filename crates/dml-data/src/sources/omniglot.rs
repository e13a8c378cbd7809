//! Omniglot: handwritten characters of fifty alphabets, each drawn by twenty people (Lake, Salakhutdinov, Tenenbaum,
//! Science 2015).
//!
//! Images are grey with bright ink: 255 where the originals have ink, 0 elsewhere, in between after shrinking. The files
//! are those of `datasets/omniglot.toml` and `datasets/omniglot-full.toml`, verified when they are read.

mod full;

pub use full::{background_and_evaluation, background_and_evaluation_as, full, full_as};

use super::archive::{Entry, entries};
use crate::image::{decode, resize};
use crate::{Dataset, Error, Image, ImageSet, Manifest, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Side in pixels of the original images; at this size they keep their two values.
pub const ORIGINAL_SIZE: usize = 105;

/// Classes, and test images, of a one-shot run.
pub const WAYS: usize = 20;

/// Largest file in the archives that is read, bytes; the real ones stay below 1 KB.
const LARGEST_FILE: u64 = 1 << 16;

/// One of the two "minimal" background sets of five alphabets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 136 characters of Balinese, Early Aramaic, Greek, Korean and Latin.
    Small1,
    /// 156 characters of Greek, Japanese (katakana), Latin, Sanskrit and Tagalog.
    Small2,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small1 => "small1",
            Self::Small2 => "small2",
        })
    }
}

/// A background set at `size` × `size` pixels. Classes are characters, named `Alphabet/characterNN`; domains are the
/// drawers `01`…`20`, who are the same people within an alphabet and others in the next.
///
/// # Errors
/// When the archive is missing below `data_dir`, is not the one of the manifest, or `size` is 0.
pub fn background(data_dir: &Path, part: Part, size: usize) -> Result<ImageSet> {
    background_as(&Manifest::find("omniglot")?, data_dir, part, size)
}

/// As [`background`], of the files that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn background_as(manifest: &Manifest, data_dir: &Path, part: Part, size: usize) -> Result<ImageSet> {
    let file = format!("images_background_{part}.zip");
    let path = manifest.folder(data_dir).join(&file);
    background_from(&path, &manifest.read(data_dir, &file)?, part, size)
}

/// Lake's one-shot classification task: one image of each of twenty characters, and twenty images to classify.
#[derive(Debug, Clone)]
pub struct OneShotRun {
    /// The 20 labelled images; image `i` has label `i`.
    pub train: ImageSet,
    /// The 20 images to classify; their labels are the answers.
    pub test: ImageSet,
}

impl OneShotRun {
    /// For each test image the training image of the same character.
    pub fn answers(&self) -> &[u32] {
        self.test.labels()
    }
}

/// The twenty official runs at `size` × `size` pixels; take [`ORIGINAL_SIZE`] for the untouched images.
///
/// # Errors
/// As [`background`].
pub fn one_shot_runs(data_dir: &Path, size: usize) -> Result<Vec<OneShotRun>> {
    one_shot_runs_as(&Manifest::find("omniglot")?, data_dir, size)
}

/// As [`one_shot_runs`], of the files that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn one_shot_runs_as(manifest: &Manifest, data_dir: &Path, size: usize) -> Result<Vec<OneShotRun>> {
    let file = "all_runs.zip";
    let path = manifest.folder(data_dir).join(file);
    runs_from(&path, &manifest.read(data_dir, file)?, size)
}

fn background_from(path: &Path, archive: &[u8], part: Part, size: usize) -> Result<ImageSet> {
    let files = entries(path, archive, LARGEST_FILE)?;
    let (mut labels, mut names, mut domains) = (vec![], Vec::<String>::new(), vec![]);
    let mut drawers = BTreeMap::new();
    // Names are ordered, so the images of a class follow each other and classes come in the order of their names.
    for entry in &files {
        let (class, drawer) = class_and_drawer(&entry.name).ok_or_else(|| {
            let problem =
                "its name is not <archive>/<alphabet>/<character>/<number>_<drawer>.png: use the owner's archive";
            Error::format(&path.join(&entry.name), problem)
        })?;
        if names.last() != Some(&class) {
            names.push(class);
        }
        labels.push(names.len() as u32 - 1);
        drawers.insert(drawer, 0);
        domains.push(drawer);
    }
    for (domain, number) in drawers.values_mut().enumerate() {
        *number = domain as u32;
    }
    let domains = domains.iter().map(|drawer| drawers[drawer]).collect();
    let drawers = drawers.into_keys().map(str::to_owned).collect();
    let images = files.par_iter().map(|entry| ink(path, entry, size)).collect::<Result<Vec<_>>>()?;
    ImageSet::new(format!("omniglot/{part}"), [1, size, size], images, labels, names)?.with_domains(domains, drawers)
}

/// `images_background_small1/Greek/character01/0394_07.png` to `Greek/character01` and `07`.
fn class_and_drawer(name: &str) -> Option<(String, &str)> {
    let parts: Vec<&str> = name.split('/').collect();
    let &[_, alphabet, character, file] = parts.as_slice() else { return None };
    let (_, drawer) = file.strip_suffix(".png")?.split_once('_')?;
    Some((format!("{alphabet}/{character}"), drawer))
}

fn runs_from(path: &Path, archive: &[u8], size: usize) -> Result<Vec<OneShotRun>> {
    let files: BTreeMap<String, Entry> =
        entries(path, archive, LARGEST_FILE)?.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    let tables: Vec<&Entry> = files.values().filter(|entry| entry.name.ends_with("/class_labels.txt")).collect();
    if tables.is_empty() {
        return Err(Error::format(path, "holds no run*/class_labels.txt: use the owner's archive"));
    }
    tables.into_par_iter().map(|table| run_from(path, table, &files, size)).collect()
}

fn run_from(path: &Path, table: &Entry, files: &BTreeMap<String, Entry>, size: usize) -> Result<OneShotRun> {
    let damaged = |problem: String| Error::format(&path.join(&table.name), problem);
    let run = table.name.trim_end_matches("/class_labels.txt");
    let text = std::str::from_utf8(&table.bytes).map_err(|error| damaged(error.to_string()))?;
    let rows: Vec<(&str, &str)> = text
        .lines()
        .map(|line| {
            line.split_once(' ').ok_or_else(|| damaged(format!("`{line}` is not `<test image> <training image>`")))
        })
        .collect::<Result<_>>()?;
    let of_run = |folder: &str| {
        let prefix = format!("{run}/{folder}/");
        files.values().filter(|entry| entry.name.starts_with(&prefix)).collect::<Vec<_>>()
    };
    let (train, test) = (of_run("training"), of_run("test"));
    if (train.len(), test.len(), rows.len()) != (WAYS, WAYS, WAYS) {
        let (train, test, rows) = (train.len(), test.len(), rows.len());
        let problem =
            format!("the run has {train} training images, {test} test images and {rows} answers: each must be {WAYS}");
        return Err(damaged(problem));
    }
    let answer = |entry: &&Entry| {
        let (_, right) = rows
            .iter()
            .find(|(item, _)| *item == entry.name)
            .ok_or_else(|| damaged(format!("no answer for {}", entry.name)))?;
        let label = train.iter().position(|class| class.name == *right);
        label.map(|label| label as u32).ok_or_else(|| damaged(format!("{right} is not a training image of {run}")))
    };
    let answers = test.iter().map(answer).collect::<Result<Vec<u32>>>()?;
    let stem = |entry: &&Entry| entry.name.rsplit('/').next().unwrap_or_default().trim_end_matches(".png").to_owned();
    let names: Vec<String> = train.iter().map(stem).collect();
    let set = |part: &str, files: &[&Entry], labels: Vec<u32>| {
        let images = files.iter().map(|entry| ink(path, entry, size)).collect::<Result<Vec<_>>>()?;
        ImageSet::new(format!("omniglot/{run}/{part}"), [1, size, size], images, labels, names.clone())
    };
    Ok(OneShotRun { train: set("train", &train, (0..WAYS as u32).collect())?, test: set("test", &test, answers)? })
}

/// A drawing as bright ink on black, `size` × `size`.
fn ink(path: &Path, entry: &Entry, size: usize) -> Result<Image> {
    let mut image = decode(&path.join(&entry.name), &entry.bytes, 1)?;
    image.pixels.iter_mut().for_each(|value| *value = 255 - *value);
    if (image.width, image.height) == (size, size) { Ok(image) } else { resize(&image, size, size) }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::zip_of;
    use super::*;
    use image::{GrayImage, ImageFormat, Luma};
    use std::io::Cursor;

    /// A white drawing with ink at column `x` of the first row, as the archives hold them.
    fn drawing(x: u32) -> Vec<u8> {
        let mut image = GrayImage::from_pixel(105, 105, Luma([255]));
        image.put_pixel(x, 0, Luma([0]));
        let mut bytes = Cursor::new(vec![]);
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_background_set_knows_characters_and_drawers() {
        let (a, b) = (drawing(3), drawing(4));
        let archive = zip_of(&[
            ("s/Latin/character02/0002_07.png", &b),
            ("s/Latin/character01/0001_10.png", &a),
            ("s/Greek/character01/0009_07.png", &b),
        ]);
        let set = background_from(Path::new("x.zip"), &archive, Part::Small1, ORIGINAL_SIZE).unwrap();
        assert_eq!(set.class_names(), ["Greek/character01", "Latin/character01", "Latin/character02"]);
        assert_eq!((set.labels(), set.domains()), ([0, 1, 2].as_slice(), [0, 1, 0].as_slice()));
        assert_eq!(
            (set.domain_names(), set.name()),
            (["07".to_owned(), "10".to_owned()].as_slice(), "omniglot/small1")
        );
        let lit: Vec<usize> = (0..set.pixels(1).len()).filter(|&i| set.pixels(1)[i] == 255).collect();
        assert_eq!(lit, [3], "ink is bright, everything else dark");
        assert_eq!(background_from(Path::new("x.zip"), &archive, Part::Small1, 28).unwrap().shape(), [1, 28, 28]);
    }

    #[test]
    fn foreign_archives_are_refused() {
        let message = |files: &[(&str, &[u8])]| {
            background_from(Path::new("x.zip"), &zip_of(files), Part::Small1, 28).unwrap_err().to_string()
        };
        assert!(message(&[("s/Latin/readme.txt", b"")]).contains("x.zip/s/Latin/readme.txt: its name is not"));
        assert!(message(&[("s/Latin/character01/1_1.png", b"")]).contains("not a readable image"));
    }

    /// A run whose test image `i` shows class `19 − i`, without the files that `leave_out` names.
    fn run(leave_out: &str, answers: impl Fn(usize) -> String) -> Result<Vec<OneShotRun>> {
        let mut files: Vec<(String, Vec<u8>)> = vec![];
        let mut table = String::new();
        for i in 0..WAYS {
            files.push((format!("run01/training/class{:02}.png", i + 1), drawing(i as u32)));
            files.push((format!("run01/test/item{:02}.png", i + 1), drawing(19 - i as u32)));
            table += &format!("run01/test/item{:02}.png {}\n", i + 1, answers(i));
        }
        files.push(("run01/class_labels.txt".into(), table.into_bytes()));
        files.retain(|(name, _)| name != leave_out);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        runs_from(Path::new("x.zip"), &zip_of(&files), ORIGINAL_SIZE)
    }

    #[test]
    fn answers_point_at_the_training_images() {
        let runs = run("", |i| format!("run01/training/class{:02}.png", 20 - i)).unwrap();
        let [run] = runs.as_slice() else { panic!("one run") };
        assert_eq!(run.answers(), (0..20).rev().collect::<Vec<u32>>());
        assert_eq!(run.train.labels(), (0..20).collect::<Vec<u32>>());
        for (i, &answer) in run.answers().iter().enumerate() {
            assert_eq!(run.test.pixels(i), run.train.pixels(answer as usize));
        }
    }

    #[test]
    fn incomplete_runs_are_refused() {
        let right = |i: usize| format!("run01/training/class{:02}.png", 20 - i);
        let message = run("run01/test/item05.png", right).unwrap_err().to_string();
        assert!(message.contains("20 training images, 19 test images and 20 answers: each must be 20"), "{message}");
        assert!(
            run("run01/class_labels.txt", right).unwrap_err().to_string().contains("holds no run*/class_labels.txt")
        );
        let message = run("", |_| "run01/training/class21.png".into()).unwrap_err().to_string();
        assert!(message.contains("run01/training/class21.png is not a training image of run01"), "{message}");
    }

    #[test]
    fn missing_files_say_how_to_get_them() {
        let nowhere = tempfile::tempdir().unwrap();
        let messages = [
            background(nowhere.path(), Part::Small2, 28).unwrap_err().to_string(),
            one_shot_runs(nowhere.path(), 28).unwrap_err().to_string(),
        ];
        assert!(
            messages[0]
                .contains("images_background_small2.zip: not found; run cargo xtask dataset fetch omniglot (3.3 MB)")
        );
        assert!(messages[1].contains("all_runs.zip: not found"));
        assert!(
            full(nowhere.path())
                .unwrap_err()
                .to_string()
                .contains("cargo xtask dataset import omniglot-full DIR (6.5 MB)")
        );
    }
}
