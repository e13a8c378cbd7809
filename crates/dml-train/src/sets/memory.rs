//! Sets in memory: images of one small size. And folders of images, which are read in passing where they would take too much of it.

use super::{OneShotInputs, Sets};
use crate::examples::{Examples, Images};
use crate::recipe::DataConfig;
use crate::{Error, Result};
use dml_data::sources::image_folder::{self, FolderSet};
use dml_data::sources::omniglot::{self, Part};
use dml_data::{Augment, AugmentedSet, Dataset, ImageSet, Normalize, Split};
use std::path::Path;
use std::sync::Arc;

/// Side of the Omniglot images, as in the few-shot literature.
const OMNIGLOT_SIDE: usize = 28;

/// Most bytes of a folder's images that are held in memory.
const MOST_IN_MEMORY: u64 = 1 << 32;

/// The images of `dataset` as inputs.
fn inputs(dataset: Arc<dyn Dataset>, augment: &Augment, normalize: &Normalize) -> Arc<dyn Examples> {
    Arc::new(Images(Arc::new(AugmentedSet { dataset, augment: augment.clone(), normalize: normalize.clone() })))
}

fn still(dataset: Arc<dyn Dataset>, normalize: &Normalize) -> Arc<dyn Examples> {
    inputs(dataset, &Augment::default(), normalize)
}

/// Sets of `train` and, if there are, images to choose by and images to report.
fn sets<D: Dataset + 'static>(train: D, [validation, test]: [Option<Arc<D>>; 2], augment: &Augment) -> Result<Sets> {
    let normalize = Normalize::measure(&train)?;
    let train = Arc::new(train);
    let part = |part: Option<Arc<D>>| part.map(|part| still(part, &normalize));
    Ok(Sets {
        still: still(train.clone(), &normalize),
        validation: part(validation),
        test: part(test),
        normalize: Some(normalize.clone()),
        ..Sets::of_train(inputs(train, augment, &normalize))
    })
}

/// The same of images in memory, which stay at hand.
fn sets_at_hand(train: ImageSet, parts: [Option<ImageSet>; 2], augment: &Augment) -> Result<Sets> {
    let images = parts.map(|part| part.map(Arc::new));
    Ok(Sets { images: images.clone(), ..sets(train, images, augment)? })
}

/// The folder of class folders at `root`. Its images are read whenever they are asked for if they take more than `most` bytes, of the
/// same values; but to be turned they must be in memory.
fn of_folder_within(most: u64, root: &Path, config: &DataConfig, augment: &Augment) -> Result<Sets> {
    let parts = image_folder::parts(root, config.size)?;
    let bytes = parts.iter().map(FolderSet::bytes).fold(0, u64::saturating_add);
    if bytes <= most || config.rotations {
        let [train, validation, test] = parts.map(|part| part.in_memory());
        return of_split(Split { train: train?, validation: validation?, test: test? }, config, augment, false);
    }
    let [train, validation, test] = match config.held_out()? {
        Some((folds, fold)) => image_folder::with_fold(parts, &folds, fold)?,
        None => parts,
    };
    sets(train, [validation, test].map(|part| Some(Arc::new(part))), augment)
}

/// As [`of_folder_within`] what may well be held in memory.
pub(super) fn of_folder(root: &Path, config: &DataConfig, augment: &Augment) -> Result<Sets> {
    of_folder_within(MOST_IN_MEMORY, root, config, augment)
}

/// A set of three parts; with `rotate_all` those for validation and test are turned, too, where training images are.
pub(super) fn of_split(split: Split, config: &DataConfig, augment: &Augment, rotate_all: bool) -> Result<Sets> {
    let split = match config.held_out()? {
        Some((folds, fold)) => split.with_fold(&folds, fold)?,
        None => split,
    };
    let turn = |set: ImageSet, turned: bool| if turned { set.with_rotations() } else { Ok(set) };
    let held_out = config.rotations && rotate_all;
    let parts = [Some(turn(split.validation, held_out)?), Some(turn(split.test, held_out)?)];
    sets_at_hand(turn(split.train, config.rotations)?, parts, augment)
}

/// A background set, with the alphabets of `hold_out` for validation, and the one-shot runs.
pub(super) fn of_background(data_dir: &Path, part: Part, config: &DataConfig, augment: &Augment) -> Result<Sets> {
    let whole = omniglot::background(data_dir, part, OMNIGLOT_SIDE)?;
    let alphabet = |class: &str| class.split('/').next().unwrap_or_default().to_owned();
    let known = |wanted: &String| whole.class_names().iter().any(|class| alphabet(class) == *wanted);
    if let Some(unknown) = config.hold_out.iter().find(|wanted| !known(wanted)) {
        return Err(Error::Recipe(format!(
            "data.hold_out names {unknown:?}, which is not an alphabet of {}",
            config.set
        )));
    }
    let (validation, train) = match config.held_out()? {
        Some((folds, fold)) => {
            let [train, validation] = folds.cut(&whole, fold)?;
            (validation, train)
        }
        None => whole.partition_classes(|class| config.hold_out.contains(&alphabet(class)))?,
    };
    let train = if config.rotations { train.with_rotations()? } else { train };
    let mut sets = sets_at_hand(train, [(!validation.is_empty()).then_some(validation), None], augment)?;
    let normalize = sets.normalize.clone().unwrap_or_default();
    let as_inputs = |set: ImageSet| still(Arc::new(set), &normalize);
    let runs = omniglot::one_shot_runs(data_dir, OMNIGLOT_SIDE)?.into_iter();
    sets.one_shot = runs.map(|run| OneShotInputs { train: as_inputs(run.train), test: as_inputs(run.test) }).collect();
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Streamed;
    use candle_core::Device;
    use dml_data::PkSampler;
    use std::fs;

    /// Eight classes of three pictures each, of other colours and sizes, as portable pixmaps.
    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for class in 0..8u8 {
            let folder = root.path().join(format!("class {class}"));
            fs::create_dir(&folder).unwrap();
            for picture in 0..3u8 {
                let (width, height) = (9 + picture, 12 - picture);
                let pixels =
                    (0..u32::from(width) * u32::from(height) * 3).map(|i| (i * 37) as u8 ^ (class * 29 + picture));
                let header = format!("P6\n{width} {height}\n255\n");
                let bytes = header.into_bytes().into_iter().chain(pixels).collect::<Vec<u8>>();
                fs::write(folder.join(format!("{picture}.ppm")), bytes).unwrap();
            }
        }
        root
    }

    /// Batches of training and of each part, with what is known of the sets.
    fn seen(sets: &Sets) -> (Vec<String>, Vec<Vec<f32>>) {
        let parts =
            [Some(&sets.train), Some(&sets.still), sets.validation.as_ref(), sets.test.as_ref()].map(Option::unwrap);
        let known = parts.iter().flat_map(|part| {
            let ids = (0..part.labels().len()).map(|i| part.id(i));
            ids.chain(part.class_names().to_vec()).chain([part.name().to_owned(), format!("{:?}", part.labels())])
        });
        let sampler = Box::new(PkSampler::new(sets.train.labels(), 2, 2, 1).unwrap());
        let streamed = sets.train.stream(sampler, (3, 0), Streamed::default()).take(5);
        let all = parts.iter().flat_map(|part| part.all().unwrap());
        let values = streamed.chain(all).flat_map(|batch| batch.unwrap().into_views(&Device::Cpu).unwrap());
        let values = values.map(|input| match input {
            dml_models::Input::Images(images) => images.flatten_all().unwrap().to_vec1().unwrap(),
            _ => panic!("images"),
        });
        (known.collect(), values.collect())
    }

    #[test]
    fn a_folder_that_is_not_held_in_memory_gives_the_same() {
        let root = folder();
        let augment = Augment { rotate: 20.0, brightness: 0.2, ..Augment::default() };
        for folds in [None, Some(2)] {
            let config = DataConfig { size: 6, folds, fold: folds.map(|_| 1), ..DataConfig::default() };
            let sets = |most| of_folder_within(most, root.path(), &config, &augment).unwrap();
            let (held, read) = (sets(u64::MAX), sets(0));
            assert!(held.images.iter().all(Option::is_some) && read.images.iter().all(Option::is_none));
            assert_eq!(seen(&held), seen(&read));
            assert_eq!(held.normalize, read.normalize);
        }
        let turned = DataConfig { size: 6, rotations: true, ..DataConfig::default() };
        let turned = of_folder_within(0, root.path(), &turned, &augment).unwrap();
        assert!(turned.train.class_names().iter().any(|class| class.ends_with("@270")));
    }

    #[test]
    fn a_folder_whose_recipe_names_transforms_is_read_as_a_table_is() {
        let root = folder();
        let recipe = |transforms: &str| {
            let data = format!("[data]\nset = 'folder'\nroot = '{}'\nsize = 6\n{transforms}", root.path().display());
            let rest = "[loss]\nname = 'triplet'\n[sampler]\nclasses = 2\nper_class = 2\n[train]\nsteps = 5\n";
            crate::sets::open(&crate::Recipe::parse(&format!("name = 'x'\n{data}{rest}"), &[]).unwrap(), None).unwrap()
        };
        let held = recipe("");
        let read = recipe("train_transforms = [{ resize = [5, 4] }]\neval_transforms = [{ resize = [5, 4] }]\n");
        assert_eq!((held.input_shape(), read.input_shape()), ([3, 6, 6], [3, 5, 4]));
        assert!(held.images.iter().all(Option::is_some) && read.images.iter().all(Option::is_none));
        assert_eq!(read.normalize, Some(Normalize::imagenet()));
        let names = |sets: &Sets| {
            let parts = [&Some(sets.train.clone()), &sets.validation, &sets.test].map(|part| part.clone().unwrap());
            parts.map(|part| (0..part.labels().len()).map(|i| (part.id(i), part.labels()[i])).collect::<Vec<_>>())
        };
        assert_eq!(names(&held), names(&read));
        assert_eq!(recipe("preset = 'mlrc'\n").input_shape(), [3, 227, 227]);
    }
}
