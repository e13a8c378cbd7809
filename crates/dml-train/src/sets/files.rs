//! Sets of image files, read as they are asked for or decoded once.

use super::{Parts, Sets};
use crate::examples::{Examples, Images};
use crate::recipe::DataConfig;
use crate::{Recipe, Result};
use dml_data::image::{Pipeline, Preset, Unreadable};
use dml_data::{CachedImages, Catalog, FileImages, Normalize};
use std::sync::Arc;

/// The parts of `catalog` as a recipe prepares them.
pub(super) fn of_catalog(catalog: Catalog, recipe: &Recipe) -> Result<Sets> {
    let config = &recipe.data;
    let catalog = match config.boxes {
        Some(cut) => catalog.cut_to_boxes(cut),
        None => catalog,
    };
    catalog.check_disjoint()?;
    let catalog = match config.held_out()? {
        Some((folds, fold)) => catalog.with_fold(&folds, fold)?,
        None => catalog,
    };
    let (eval, normalize) = evaluation(config)?;
    let how = Preparation { train: training(config)?, eval, normalize, recipe };
    let Parts { train, validation, test, groups, roles: [train_roles, roles] } = Parts::of(&catalog, config)?;
    Ok(Sets {
        // Seen once at most, so that decoding them ahead would gain nothing.
        still: Arc::new(Images(Arc::new(how.images(train.clone(), &how.eval)?))),
        groups,
        validation: validation.map(|part| how.inputs(part, &how.eval, Unreadable::Fail)).transpose()?,
        test: test.map(|part| how.inputs(part, &how.eval, Unreadable::Fail)).transpose()?,
        train_roles,
        roles,
        normalize: Some(how.normalize.clone()),
        ..Sets::of_train(how.inputs(train, &how.train, config.unreadable)?)
    })
}

/// What is done to training images.
pub(super) fn training(config: &DataConfig) -> Result<Pipeline> {
    Ok(match &config.train_transforms {
        Some(own) => own.clone(),
        None => Preset::named(&config.preset)?.train,
    })
}

/// What is done to all other images, and what their values become, as those of training images do.
pub(crate) fn evaluation(config: &DataConfig) -> Result<(Pipeline, Normalize)> {
    let preset = Preset::named(&config.preset)?;
    let eval = config.eval_transforms.clone().unwrap_or(preset.eval);
    Ok((eval, config.normalize.clone().unwrap_or(preset.normalize)))
}

/// How files become inputs.
struct Preparation<'a> {
    train: Pipeline,
    eval: Pipeline,
    normalize: Normalize,
    recipe: &'a Recipe,
}

impl Preparation<'_> {
    fn images(&self, part: Catalog, pipeline: &Pipeline) -> Result<FileImages> {
        Ok(FileImages::new(part, self.recipe.data.decoder, pipeline.clone(), self.normalize.clone())?)
    }

    fn inputs(&self, part: Catalog, pipeline: &Pipeline, unreadable: Unreadable) -> Result<Arc<dyn Examples>> {
        let images = Arc::new(self.images(part, pipeline)?);
        Ok(Arc::new(Images(match &self.recipe.data.cache {
            Some(folder) => Arc::new(CachedImages::open_or_make_in(images, folder, unreadable, &mut |_| ())?),
            None => images,
        })))
    }
}
