//! Sets in memory: images of one small size.

use super::{OneShotInputs, Sets};
use crate::examples::{Examples, Images};
use crate::recipe::DataConfig;
use crate::{Error, Result};
use dml_data::sources::omniglot::{self, Part};
use dml_data::{Augment, AugmentedSet, Dataset, ImageSet, Normalize, Split};
use std::path::Path;
use std::sync::Arc;

/// Side of the Omniglot images, as in the few-shot literature.
const OMNIGLOT_SIDE: usize = 28;

/// The images of `dataset` as inputs.
fn inputs(dataset: Arc<ImageSet>, augment: &Augment, normalize: &Normalize) -> Arc<dyn Examples> {
    Arc::new(Images(Arc::new(AugmentedSet { dataset, augment: augment.clone(), normalize: normalize.clone() })))
}

fn still(dataset: &Arc<ImageSet>, normalize: &Normalize) -> Arc<dyn Examples> {
    inputs(dataset.clone(), &Augment::default(), normalize)
}

fn sets(train: ImageSet, parts: [Option<ImageSet>; 2], augment: &Augment) -> Result<Sets> {
    let normalize = Normalize::measure(&train)?;
    let train = Arc::new(train);
    let images = parts.map(|part| part.map(Arc::new));
    let [validation, test] = [&images[0], &images[1]].map(|part| part.as_ref().map(|part| still(part, &normalize)));
    Ok(Sets {
        still: still(&train, &normalize),
        validation,
        test,
        images,
        normalize: Some(normalize.clone()),
        ..Sets::of_train(inputs(train, augment, &normalize))
    })
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
    sets(turn(split.train, config.rotations)?, parts, augment)
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
    let mut sets = sets(train, [(!validation.is_empty()).then_some(validation), None], augment)?;
    let normalize = sets.normalize.clone().unwrap_or_default();
    let as_inputs = |set: ImageSet| still(&Arc::new(set), &normalize);
    let runs = omniglot::one_shot_runs(data_dir, OMNIGLOT_SIDE)?.into_iter();
    sets.one_shot = runs.map(|run| OneShotInputs { train: as_inputs(run.train), test: as_inputs(run.test) }).collect();
    Ok(sets)
}
