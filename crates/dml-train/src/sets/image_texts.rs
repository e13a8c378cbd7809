//! Sets of images as examples of two views: with the texts of their classes, or drawn twice.

use super::{Sets, files, texts};
use crate::cross_modal::Captions;
use crate::examples::{Examples, Images};
use crate::two_views::{DrawnTwice, ImagesWithTexts};
use crate::{Error, Recipe, Result};
use dml_data::image::{Pipeline, Step};
use dml_data::sources::{emoji_names, own_texts};
use dml_data::{Augment, ClassTexts, Inputs, SelectedInputs};
use std::path::Path;
use std::sync::Arc;

/// The images of `sets`, each with a text of its class; training images of classes without any are left out.
pub(super) fn with_texts(sets: Sets, recipe: &Recipe, name: &str) -> Result<Sets> {
    let images = images(&sets, recipe, "data.texts is set")?;
    let all = Arc::new(match name {
        "emoji-names" => emoji_names::load()?,
        file => own_texts::open(Path::new(file))?,
    });
    let tokenizer = Arc::new(texts::tokenizer(recipe)?);
    let captions = |part: &Option<Arc<dyn Examples>>| -> Option<Captions> {
        let texts = ClassTexts::new(all.clone(), part.as_deref()?.class_names());
        Some(Captions { texts, tokenizer: tokenizer.clone() }).filter(|captions| captions.texts.count() > 0)
    };
    let captions = [captions(&sets.validation), captions(&sets.test)];
    let known = ClassTexts::new(all.clone(), images.class_names());
    let names = images.class_names().to_vec();
    let has_text = |class: &str| names.iter().position(|name| name == class).is_some_and(|at| known.has(at as u32));
    let train = SelectedInputs::of_classes(images, has_text).map_err(|_| {
        let [class, label] = [names.first(), all.class_names().first()].map(|name| name.map_or("", |name| name));
        Error::Recipe(format!(
            "data.texts {name:?} has no text of any class of data.set {:?}: labels there must be names of classes here, but are like \
             {label:?} and not like {class:?}",
            recipe.data.set
        ))
    })?;
    let groups = train.indices().iter().filter_map(|&index| sets.groups.get(index).copied()).collect();
    let still = match sets.still.images() {
        Some(still) => SelectedInputs::of_classes(still.clone(), has_text)?,
        None => return Err(no_images(recipe, "data.texts is set")),
    };
    let texts = Arc::new(ClassTexts::new(all.clone(), train.class_names()));
    let train = ImagesWithTexts { images: Images(Arc::new(train)), texts, tokenizer: tokenizer.clone() };
    let still: Arc<dyn Examples> = Arc::new(Images(Arc::new(still)));
    Ok(Sets { train: Arc::new(train), still, groups, captions, two_views: true, ..sets })
}

/// The images of `sets`, each drawn twice.
pub(super) fn drawn_twice(sets: Sets, recipe: &Recipe) -> Result<Sets> {
    let images = images(&sets, recipe, "data.views is 2")?;
    let mend = match super::are_files(&recipe.data) {
        true if !pipeline_draws(&files::training(&recipe.data)?) => {
            "add a step to data.train_transforms, e.g. { horizontal_flip = 0.5 }"
        }
        false if !augment_draws(&recipe.augment) => "set augment, e.g. augment.translate = 0.1",
        _ => return Ok(Sets { train: Arc::new(DrawnTwice(Images(images))), two_views: true, ..sets }),
    };
    Err(Error::Recipe(format!(
        "data.views is 2 but nothing is drawn of an image, so that both views would be equal: {mend}"
    )))
}

/// Whether two images of one may differ.
fn augment_draws(augment: &Augment) -> bool {
    let Augment { rotate, shear, translate, elastic, brightness, contrast, saturation, erase, scale, .. } = *augment;
    let amounts = [rotate, shear, translate, elastic, brightness, contrast, saturation, erase, scale[1] - scale[0]];
    amounts.iter().any(|&amount| amount > 0.0) || is_by_chance(augment.horizontal_flip.into())
}

/// As [`augment_draws`], of image files.
fn pipeline_draws(pipeline: &Pipeline) -> bool {
    pipeline.steps.iter().any(|step| match step {
        Step::Resize(_) | Step::CenterCrop(_) => false,
        Step::HorizontalFlip(flip) => is_by_chance(flip.probability),
        Step::VerticalFlip(flip) => is_by_chance(flip.probability),
        Step::Grayscale(grayscale) => is_by_chance(grayscale.probability),
        _ => true,
    })
}

fn is_by_chance(probability: f64) -> bool {
    probability > 0.0 && probability < 1.0
}

fn images(sets: &Sets, recipe: &Recipe, what: &str) -> Result<Arc<dyn Inputs>> {
    sets.train.images().cloned().ok_or_else(|| no_images(recipe, what))
}

fn no_images(recipe: &Recipe, what: &str) -> Error {
    Error::Recipe(format!("{what} but data.set {:?} holds no images: leave it out", recipe.data.set))
}
