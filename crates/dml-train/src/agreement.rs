//! What of a recipe does not go together, before anything is written.

use crate::recipe::Evaluated;
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

/// Images want an encoder of images; what texts want is said where they become tokens.
pub(crate) fn of_kind(recipe: &Recipe, sets: &Sets) -> Result<()> {
    if sets.train.images().is_none() || recipe.model.text_sizes().is_none() {
        return Ok(());
    }
    let (set, architecture) = (&recipe.data.set, recipe.model.architecture);
    Err(Error::Recipe(format!(
        "data.set {set:?} holds images but model.architecture {architecture:?} embeds texts: choose one of images"
    )))
}

/// Pairs come in two views, and only they do.
pub(crate) fn of_views(
    recipe: &Recipe,
    sets: &Sets,
    (key, loss): (&str, &str),
    objective: &dyn Objective,
) -> Result<()> {
    if sets.text_numbers.is_empty() {
        return match objective.needs_references() {
            true => Err(Error::Recipe(format!(
                "{key} is {loss:?}, which compares two views, but data.set {:?} has one: give pairs",
                recipe.data.set
            ))),
            false => Ok(()),
        };
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
    Err(Error::Recipe(format!("data.set {:?} holds pairs but {key} {loss:?} {problem}", recipe.data.set)))
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
