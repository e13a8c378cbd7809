//! Sets of image files, read as they are asked for or decoded once.

use super::Sets;
use crate::{Error, Recipe, Result};
use dml_data::image::{Pipeline, Preset, Unreadable};
use dml_data::{CachedImages, Catalog, FileImages, Inputs, Normalize, SplitRule};
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
    let preset = Preset::named(&config.preset)?;
    let how = Preparation {
        train: config.train_transforms.clone().unwrap_or(preset.train),
        eval: config.eval_transforms.clone().unwrap_or(preset.eval),
        normalize: config.normalize.clone().unwrap_or(preset.normalize),
        recipe,
    };
    let part = |name: &str| -> Result<Option<Catalog>> {
        Ok(if catalog.part_names().iter().any(|part| part == name) { Some(catalog.part(name)?) } else { None })
    };
    let whole = part("train")?.ok_or_else(|| {
        let parts = catalog.part_names().join(", ");
        Error::Recipe(format!("data.set {:?} has no part `train` but {parts}: give it a column `split`", config.set))
    })?;
    let (train, validation) = match part("validation")? {
        Some(validation) => (whole, Some(validation)),
        None if config.validation > 0.0 => {
            let dealt = whole.split(&SplitRule { test: 0.0, validation: config.validation, ..SplitRule::default() })?;
            (dealt.part("train")?, Some(dealt.part("validation")?))
        }
        None => (whole, None),
    };
    let test = part("test")?;
    let roles = test.as_ref().map(|test| (0..test.len()).map(|i| [test.is_query(i), test.is_gallery(i)]).collect());
    let roles: Option<Vec<[bool; 2]>> =
        roles.filter(|roles: &Vec<[bool; 2]>| !roles.iter().all(|&role| role == [true, true]));
    let groups = train.groups().to_vec();
    Ok(Sets {
        // Seen once at most, so that decoding them ahead would gain nothing.
        still: Arc::new(how.images(train.clone(), &how.eval)?),
        train: how.inputs(train, &how.train)?,
        groups,
        validation: validation.map(|part| how.inputs(part, &how.eval)).transpose()?,
        test: test.map(|part| how.inputs(part, &how.eval)).transpose()?,
        roles,
        images: [None, None],
        one_shot: vec![],
        normalize: how.normalize,
    })
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

    fn inputs(&self, part: Catalog, pipeline: &Pipeline) -> Result<Arc<dyn Inputs>> {
        let images = Arc::new(self.images(part, pipeline)?);
        Ok(match &self.recipe.data.cache {
            Some(folder) => Arc::new(CachedImages::open_or_make_in(images, folder, Unreadable::Fail, &mut |_| ())?),
            None => images,
        })
    }
}
