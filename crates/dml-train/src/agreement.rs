//! What of a recipe does not go together, before anything is written.

use crate::recipe::{Evaluated, Views};
use crate::sets::Sets;
use crate::{Error, Recipe, Result};
use dml_losses::Objective;
use dml_models::{Encoder, Network};

pub(crate) fn no_validation() -> Error {
    Error::Recipe(
        "train.validate_every is set but there are no validation classes: set data.validation, or leave it out".into(),
    )
}

/// What is measured between steps must be there.
pub(crate) fn of_choice(recipe: &Recipe, sets: &Sets) -> Result<()> {
    let train = &recipe.train;
    if train.evaluate == Evaluated::BestOnTest {
        return match sets.test {
            Some(_) => Ok(()),
            None => Err(Error::Recipe(
                "train.evaluate is \"best_on_test\" but there are no test classes: use best_on_validation or last"
                    .into(),
            )),
        };
    }
    match train.validate_every > 0 && sets.validation.is_none() && sets.scored[0].is_none() {
        true => Err(no_validation()),
        false => Ok(()),
    }
}

/// Images want an encoder of images, and texts beside them a tower; what texts want is said where they become tokens.
pub(crate) fn of_kind(recipe: &Recipe, sets: &Sets) -> Result<()> {
    if recipe.model.text.is_some() && recipe.data.texts.is_none() {
        return Err(Error::Recipe(format!(
            "model.text is a tower for texts but data.set {:?} has none beside its images: name them as data.texts",
            recipe.data.set
        )));
    }
    if sets.train.images().is_none() || recipe.model.text_sizes().is_none() {
        return Ok(());
    }
    let (set, architecture) = (&recipe.data.set, recipe.model.architecture);
    Err(Error::Recipe(format!(
        "data.set {set:?} holds images but model.architecture {architecture:?} embeds texts: choose one of images"
    )))
}

/// Losses of two views want two, and other losses take them only so far.
pub(crate) fn of_views(
    recipe: &Recipe,
    sets: &Sets,
    (key, loss): (&str, &str),
    objective: &dyn Objective,
) -> Result<()> {
    let set = &recipe.data.set;
    let pooled = recipe.loss.views == Views::Pooled;
    let wrong = |problem: String| Err(Error::Recipe(problem));
    if !sets.two_views {
        return match (objective.needs_references(), pooled) {
            (true, _) => wrong(format!(
                "{key} is {loss:?}, which compares two views, but data.set {set:?} has one: give pairs, or set data.views = 2"
            )),
            (false, true) => wrong(format!(
                "loss.views is \"pooled\" but data.set {set:?} has one view of each example: leave it out"
            )),
            (false, false) => Ok(()),
        };
    }
    if sets.text_numbers.is_empty() {
        return match (pooled, objective.needs_references(), objective.takes_references()) {
            (true, true, _) => {
                wrong(format!("loss.views is \"pooled\" but {key} {loss:?} compares two views: leave loss.views out"))
            }
            (false, _, false) => wrong(format!(
                "data has two views of each example but {key} {loss:?}, with what is around it, takes no second one: set \
                 loss.views = \"pooled\", or use another loss such as clip or nt_xent, without a memory"
            )),
            _ => Ok(()),
        };
    }
    if pooled {
        return wrong(format!("loss.views is \"pooled\" but data.set {set:?} holds pairs of no class: leave it out"));
    }
    // Losses of graded pairs take them within one batch.
    let graded = ["cosent", "angle"].contains(&loss);
    let problem = match (recipe.data.positive_score, graded) {
        (Some(_), true) => "orders graded pairs: leave data.positive_score out",
        (None, false) => "does not order graded pairs: set data.positive_score, or use cosent or angle",
        (Some(_), false) if !objective.takes_references() => {
            "takes no second view, with what is around it: use nt_xent or clip, without a memory"
        }
        _ => return Ok(()),
    };
    wrong(format!("data.set {set:?} holds pairs but {key} {loss:?} {problem}"))
}

/// Chunks are embedded without their neighbours, which batch statistics depend on.
pub(crate) fn of_chunks(recipe: &Recipe, encoder: &Network) -> Result<()> {
    let has_norms = encoder.weights().buffers().iter().any(|(name, _)| name.ends_with("running_mean"));
    if recipe.train.chunk > 0 && has_norms && !recipe.model.freeze_norms {
        return Err(Error::Recipe(
            "train.chunk is set but batch norms use the statistics of a whole batch: set model.freeze_norms = true, or \
             train.chunk = 0"
                .to_owned(),
        ));
    }
    Ok(())
}
